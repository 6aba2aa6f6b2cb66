-- A small shop. Payments send their old rows (replica identity full), so that rules about changes can be told what was before.
create table public.customers (
  id bigint primary key,
  name text not null,
  email text,
  country text,
  created_at timestamptz not null,
  updated_at timestamptz not null
);

create table public.orders (
  id bigint primary key,
  customer_id bigint not null,
  status text not null,
  currency text not null,
  country text,
  net numeric(12,2) not null,
  tax numeric(12,2) not null,
  total numeric(12,2) not null,
  items int not null,
  channel text,
  email text,
  note text,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
comment on table public.orders is 'One row an order; note holds what the customer wrote, which may be long.';

create table public.payments (
  id bigint primary key,
  order_id bigint not null,
  method text not null,
  status text not null,
  amount numeric(12,2) not null,
  currency text not null,
  paid_at timestamptz not null,
  updated_at timestamptz not null
);
alter table public.payments replica identity full;
