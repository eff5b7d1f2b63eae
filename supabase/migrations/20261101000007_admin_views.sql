-- For people who look in Supabase Studio. No personal fields.

create or replace view public.admin_orders with (security_invoker = true) as
select o.id as order_id, o.status, o.amount, o.currency, o.created_at,
  o.handed_over_at, o.generation_started_at, o.redrives,
  count(v.id) filter (where v.generation_status = 'complete') as songs_complete,
  count(v.id) filter (where v.generation_status = 'failed') as songs_failed,
  string_agg(distinct v.failure_reason, ', ') as failure_reasons,
  max(v.completed_at) as last_song_at,
  (select count(*) from public.purchases p where p.order_id = o.id) as provider_calls,
  (select count(*) from public.failed_jobs j
   where j.order_id = o.id and j.resolved_at is null) as open_dead_letters,
  o.amount_refunded, o.stripe_session_id, o.payment_intent, o.user_id, o.customization_id
from public.orders o
left join public.song_variants v on v.order_id = o.id
where o.duplicate_of is null
group by o.id
order by o.created_at desc;

create or replace view public.admin_dead_letters with (security_invoker = true) as
select j.id, j.failed_at, j.job_type, j.order_id, o.status as order_status, j.error_message,
  j.retry_count, j.run_id, coalesce(j.stripe_session_id, o.stripe_session_id) as stripe_session_id,
  j.resolved_at, j.notes
from public.failed_jobs j
left join public.orders o on o.id = j.order_id
order by j.resolved_at is not null, j.failed_at desc;

-- What an order cost. The provider bills by length, and a call whose outcome is unknown may have
-- been billed.
create or replace view public.admin_order_costs with (security_invoker = true) as
select p.order_id,
  count(*) as calls,
  count(*) filter (where p.outcome = 'delivered') as songs_delivered,
  count(*) filter (where p.outcome = 'unknown') as songs_in_doubt,
  coalesce(sum(p.length_ms) filter (where p.outcome = 'delivered'), 0) / 1000.0 as billed_seconds,
  coalesce(sum(p.length_ms) filter (where p.outcome = 'unknown'), 0) / 1000.0 as seconds_in_doubt
from public.purchases p
group by p.order_id;

revoke all on public.admin_orders, public.admin_dead_letters, public.admin_order_costs
  from anon, authenticated;
grant select on public.admin_orders, public.admin_dead_letters, public.admin_order_costs
  to service_role;
