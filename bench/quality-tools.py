"""Twelve row checks over a file by another tool: read and checked in this process. Prints one line of JSON. Started by bench/quality-tools.ts."""
import json
import os
import sys
import time

tool, path = sys.argv[1], sys.argv[2]
kind = path.rsplit(".", 1)[1]
STATUSES = ["new", "paid", "shipped", "cancelled"]
CURRENCY, EMAIL = "^[A-Z]{3}$", "^[^@ ]+@[^@ ]+$"


def pandas_frame():
    import pandas

    readers = {"csv": pandas.read_csv, "ndjson": lambda file: pandas.read_json(file, lines=True), "parquet": pandas.read_parquet}
    return readers[kind](path)


def polars_frame():
    import polars

    return {"csv": polars.read_csv, "ndjson": polars.read_ndjson, "parquet": polars.read_parquet}[kind](path)


def pointblank(frame):
    import pointblank
    import polars

    length = polars.col("email").str.len_chars()
    note = polars.col("note").str.len_chars()
    checks = (
        pointblank.Validate(frame)
        .col_vals_not_null("id")
        .col_vals_ge("id", 1)
        .col_vals_not_null("customer_id")
        .col_vals_ge("customer_id", 1)
        .col_vals_in_set("status", STATUSES)
        .col_vals_regex("currency", CURRENCY)
        .col_vals_regex("email", EMAIL)
        .col_vals_expr(length <= 100)
        .col_vals_between("items", 1, 100)
        .col_vals_between("total", 0, 1_000_000)
        .col_vals_expr(note.is_between(1, 200))
        .col_vals_not_null("note")
        .interrogate(collect_extracts=False)
    )
    return int(sum(checks.n_failed().values()))


def pandera(frame):
    import pandera.pandas as pa

    check = pa.Check
    schema = pa.DataFrameSchema(
        {
            "id": pa.Column(checks=check.ge(1)),
            "customer_id": pa.Column(checks=check.ge(1)),
            "status": pa.Column(checks=check.isin(STATUSES)),
            "currency": pa.Column(checks=check.str_matches(CURRENCY)),
            "email": pa.Column(checks=[check.str_matches(EMAIL), check.str_length(max_value=100)]),
            "items": pa.Column(checks=check.in_range(1, 100)),
            "total": pa.Column(checks=check.in_range(0, 1_000_000)),
            "note": pa.Column(checks=check.str_length(1, 200)),
        }
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        return len(error.failure_cases)
    return 0


def great_expectations(frame):
    import logging

    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import great_expectations.expectations as e

    logging.disable(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_pandas("bench").add_dataframe_asset("rows")
    batch = source.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
    suite = gx.ExpectationSuite(
        "bench",
        expectations=[
            e.ExpectColumnValuesToNotBeNull(column="id"),
            e.ExpectColumnValuesToBeBetween(column="id", min_value=1),
            e.ExpectColumnValuesToNotBeNull(column="customer_id"),
            e.ExpectColumnValuesToBeBetween(column="customer_id", min_value=1),
            e.ExpectColumnValuesToBeInSet(column="status", value_set=STATUSES),
            e.ExpectColumnValuesToMatchRegex(column="currency", regex=CURRENCY),
            e.ExpectColumnValuesToMatchRegex(column="email", regex=EMAIL),
            e.ExpectColumnValueLengthsToBeBetween(column="email", max_value=100),
            e.ExpectColumnValuesToBeBetween(column="items", min_value=1, max_value=100),
            e.ExpectColumnValuesToBeBetween(column="total", min_value=0, max_value=1_000_000),
            e.ExpectColumnValueLengthsToBeBetween(column="note", min_value=1, max_value=200),
            e.ExpectColumnValuesToNotBeNull(column="note"),
        ],
    )
    return sum(result.result["unexpected_count"] for result in batch.validate(suite).results)


if tool == "parquet":
    import polars

    polars.read_csv(path).write_parquet(path.replace(".csv", ".parquet"))
    print("{}")
else:
    frame = polars_frame() if tool == "pointblank" else pandas_frame()
    started = time.perf_counter()
    failing = {"pointblank": pointblank, "pandera": pandera, "great_expectations": great_expectations}[tool](frame)
    print(json.dumps({"failing": failing, "checkSeconds": time.perf_counter() - started}))
