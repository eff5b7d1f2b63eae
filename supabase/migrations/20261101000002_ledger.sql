-- What makes an order safe: one order for a Checkout Session, the payment it belongs to, the ledger
-- of purchases, the leases under which variants are worked on, and the record of Stripe's events.

alter table public.orders
  add column if not exists payment_intent text,
  add column if not exists currency text,
  add column if not exists handed_over_at timestamptz,
  add column if not exists generation_started_at timestamptz,
  add column if not exists redrives integer not null default 0,
  add column if not exists redriven_at timestamptz,
  add column if not exists amount_refunded integer,
  add column if not exists refund_requested_at timestamptz,
  add column if not exists refund_id text,
  add column if not exists duplicate_of uuid references public.orders (id) on delete set null;

comment on column public.orders.amount is
  'What was paid, in minor units of currency; null where Stripe gave no amount.';
comment on column public.orders.handed_over_at is
  'When song/generation.requested was accepted by Inngest.';
comment on column public.orders.redrives is
  'How often the sweep has started generation anew.';
comment on column public.orders.refund_requested_at is
  'When the service decided to pay the order back by itself. No song is bought after that.';
comment on column public.orders.duplicate_of is
  'Set on old rows that repeat another order''s Checkout Session.';

-- 799 was only a default, and booked free orders at full price.
alter table public.orders alter column amount drop not null, alter column amount drop default;

do $$
declare old_check text;
begin
  for old_check in
    select conname from pg_catalog.pg_constraint
    where conrelid = 'public.orders'::regclass and contype = 'c'
      and pg_catalog.pg_get_constraintdef(oid) ~ '\mstatus\M'
  loop
    execute format('alter table public.orders drop constraint %I', old_check);
  end loop;
end $$;
alter table public.orders add constraint orders_status_check check (status in
  ('pending', 'paid', 'generating', 'completed', 'failed', 'refunded', 'canceled'));

-- Old rows may repeat a session. The one that got furthest stays; the rest point at it.
with ranked as (
  select o.id, o.duplicate_of,
    first_value(o.id) over (partition by o.stripe_session_id order by
      (o.duplicate_of is null) desc, (o.status = 'completed') desc, o.created_at, o.id) as keeper
  from public.orders o where o.stripe_session_id is not null
)
update public.orders o set duplicate_of = ranked.keeper
from ranked
where ranked.id = o.id and ranked.keeper <> o.id and o.duplicate_of is null;

create unique index if not exists orders_one_per_session
  on public.orders (stripe_session_id) where duplicate_of is null;
create index if not exists orders_by_payment_intent on public.orders (payment_intent);
create index if not exists orders_unfinished on public.orders (created_at)
  where status in ('paid', 'generating');

alter table public.song_variants add column if not exists failure_reason text;
comment on column public.song_variants.failure_reason is
  'Why the variant failed: an error code, never the customer''s or the provider''s words.';

alter table public.failed_jobs
  add column if not exists order_id uuid,
  add column if not exists run_id text,
  add column if not exists stripe_session_id text;
create unique index if not exists failed_jobs_one_open_per_order
  on public.failed_jobs (job_type, order_id) where resolved_at is null and order_id is not null;
create unique index if not exists failed_jobs_one_open_per_session
  on public.failed_jobs (job_type, stripe_session_id)
  where resolved_at is null and order_id is null and stripe_session_id is not null;
create unique index if not exists failed_jobs_one_open_per_run
  on public.failed_jobs (job_type, run_id)
  where resolved_at is null and order_id is null and run_id is not null;

-- One row per purchase, written before the provider is called. It outlives its order on purpose:
-- what was spent stays known when a customer is deleted; it holds no personal data.
create table if not exists public.purchases (
  id uuid primary key,
  order_id uuid not null,
  variant_number integer not null,
  number integer not null,
  run_id text not null,
  attempt integer not null,
  prompt_sha256 text not null,
  model_id text not null,
  length_ms integer not null,
  opened_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz,
  outcome text check (outcome in ('delivered', 'rejected', 'refused', 'unknown')),
  reason text,
  http_status integer,
  operators_business boolean not null default false,
  provider_song_id text,
  duration_ms integer,
  size_bytes integer,
  unique (order_id, variant_number, number)
);
comment on table public.purchases is
  'The ledger: every call to the provider. outcome is null while the call runs. delivered: a song '
  'came. rejected: the content was refused. refused: nothing was made (throttled, unavailable, '
  'key or plan). unknown: a song may have been made and billed.';

-- Who works on a variant, and until when. The token is the purchase's id where one is made.
create table if not exists public.variant_claims (
  order_id uuid not null references public.orders (id) on delete cascade,
  variant_number integer not null,
  token uuid not null,
  run_id text not null,
  leased_until timestamptz not null,
  primary key (order_id, variant_number)
);

-- Songs that were bought while Storage would not take them, kept until it does.
create table if not exists public.undelivered_audio (
  order_id uuid not null,
  variant_number integer not null,
  purchase_id uuid not null,
  audio bytea not null,
  kept_at timestamptz not null default now(),
  primary key (order_id, variant_number)
);

create table if not exists public.stripe_events (
  id text primary key,
  type text not null,
  stripe_session_id text,
  payment_intent text,
  created_at timestamptz not null,
  received_at timestamptz not null default now(),
  outcome text not null,
  amount_refunded integer,
  refund_amount integer,
  ends_payment boolean not null default false
);
comment on table public.stripe_events is
  'What Stripe told us and what we did. No personal fields. amount_refunded: of the whole charge; '
  'refund_amount: of one refund. ends_payment: a full refund or a dispute, after which nothing may '
  'be bought for the payment intent.';
create index if not exists stripe_events_by_session on public.stripe_events (stripe_session_id);
create index if not exists stripe_events_by_payment on public.stripe_events (payment_intent);
