create table public.orders (id bigint primary key, status text not null, total numeric(12,2) not null, updated_at timestamptz not null);
insert into public.orders select n, 'new', n, now() from generate_series(1, 1000) n;
