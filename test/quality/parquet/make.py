import pyarrow as pa, pyarrow.parquet as pq, decimal, datetime as dt, json
D=decimal.Decimal; decimal.getcontext().prec=80
n=30
def d(i): return D(i*i*10**14+i).scaleb(-4)
rows=[]
for i in range(n):
    null = i%7==3
    rows.append(dict(
      id=9007199254740990+i, small=None if null else i-5, unsigned=2**64-1-i, ratio=None if null else i/3, single=i/10, yes=None if null else i%2==0,
      name=None if null else f"näme {i%4}", price=None if null else D(i*101-1500).scaleb(-2), large=-d(i) if i%2 else d(i),
      huge=None if null else D((i-10)*10**36+i).scaleb(-10),
      day=None if null else dt.date(1969,12,20)+dt.timedelta(days=i), at=None if null else dt.datetime(2026,1,1,0,0,0,i*1001)+dt.timedelta(hours=i),
      at_utc=dt.datetime(1969,12,31,23,59,tzinfo=dt.timezone.utc)+dt.timedelta(seconds=i*7, milliseconds=i), tod=dt.time(i%24,i,59,i*10), tags=None if null else [f"t{k}" for k in range(i%3)],
      place=None if null else dict(x=i, big=2**60+i, cost=D(i).scaleb(-1)), raw=bytes([i,255-i])))
schema=pa.schema([('id',pa.int64()),('small',pa.int16()),('unsigned',pa.uint64()),('ratio',pa.float64()),('single',pa.float32()),('yes',pa.bool_()),('name',pa.string()),
 ('price',pa.decimal128(9,2)),('large',pa.decimal128(18,4)),('huge',pa.decimal256(50,10)),('day',pa.date32()),('at',pa.timestamp('us')),('at_utc',pa.timestamp('ms',tz='UTC')),('tod',pa.time64('us')),
 ('tags',pa.list_(pa.string())),('place',pa.struct([('x',pa.int32()),('big',pa.int64()),('cost',pa.decimal128(5,1))])),('raw',pa.binary())])
t=pa.Table.from_pylist(rows,schema=schema)
import sys
leaves=[c for c in schema.names if c not in('tags','place')]+['tags.list.element','place.x','place.big','place.cost']
out=sys.argv[1]
pq.write_table(t,f'{out}/types.parquet',row_group_size=11,compression={c:['snappy','zstd','gzip','brotli','lz4','none'][k%6] for k,c in enumerate(leaves)},store_decimal_as_integer=True,write_statistics=True,store_schema=False)
pq.write_table(t,f'{out}/types-v2.parquet',row_group_size=7,compression='lz4',use_dictionary=False,data_page_version='2.0',version='2.4',use_deprecated_int96_timestamps=False,store_schema=False)
pq.write_table(t,f'{out}/types-int96.parquet',compression='gzip',use_deprecated_int96_timestamps=True,version='1.0',store_schema=False)
def text(v):
    if v is None: return 'null'
    if isinstance(v,bool): return 'true' if v else 'false'
    if isinstance(v,(int,float)): return json.dumps(v)
    if isinstance(v,D): return json.dumps(format(v,'f'))
    if isinstance(v,dt.datetime): 
        f=f".{v.microsecond:06d}".rstrip('0').rstrip('.') if v.microsecond else ''
        return json.dumps(v.strftime('%Y-%m-%d %H:%M:%S')+f+('+00' if v.tzinfo else ''))
    if isinstance(v,dt.date): return json.dumps(v.isoformat())
    if isinstance(v,dt.time):
        f=f".{v.microsecond:06d}".rstrip('0') if v.microsecond else ''
        return json.dumps(v.strftime('%H:%M:%S')+f)
    if isinstance(v,str): return json.dumps(v,ensure_ascii=False)
    if isinstance(v,bytes): return json.dumps('\\x'+v.hex())
    if isinstance(v,list): return '['+','.join(map(text,v))+']'
    if isinstance(v,dict): return '{'+','.join(json.dumps(k)+':'+text(x) for k,x in v.items())+'}'
    raise Exception(v)
with open(f'{out}/types.ndjson','w') as f:
    for r in rows: f.write(text(r)+'\n')
