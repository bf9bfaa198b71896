create table cards (
    id integer primary key,
    holder text not null,
    last_four text not null,
    expires date not null
);

create table orders (
    id integer primary key,
    card integer not null references cards,
    amount numeric(10, 2) not null,
    placed timestamptz not null
);

create table refunds (
    id integer generated always as identity primary key,
    "order" integer not null references orders,
    amount numeric(10, 2) not null,
    reason text
);

insert into cards
select n, (array['Ada Young', 'Ben Okafor', 'Chloe Martin', 'Dev Patel', 'Elif Demir'])[n % 5 + 1],
       lpad((n * 7919 % 10000)::text, 4, '0'), date '2028-01-31' + n * 30
from generate_series(1, 20) as n;

insert into orders
select n, n % 20 + 1, (n * 1733 % 50000) / 100.0, timestamptz '2026-11-01 08:00:00+00' + n * interval '7 hours'
from generate_series(1, 50) as n;

insert into refunds ("order", amount, reason)
select n * 6, (n * 311 % 2000) / 100.0, (array['damaged', 'late', 'wrong size'])[n % 3 + 1]
from generate_series(1, 8) as n;

grant select on cards, orders, refunds to payments_ro;

grant select, insert, update, delete on cards, orders, refunds to payments_rw;

grant create, temporary on database payments to payments_rw;

grant create, usage on schema public to payments_rw;

grant usage on schema public to payments_ro;

