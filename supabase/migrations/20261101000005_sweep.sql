-- What the sweep looks for, and the healing that needs nothing but the database.

-- Orders that are not where they should be. finding is one of
--   not_handed_over   stored, and Inngest never took the event (older than p_grace_seconds);
--   stuck             no end in sight for p_deadline_seconds and nobody holds a claim;
--   given_up          stuck, and started anew p_max_redrives times already;
--   no_dead_letter    failed, and nobody was told;
--   contradiction     a final state that its variants contradict;
--   audio_unclaimed   a final order with a song in Storage whose variant does not say so;
--   refund_due        failed without a song, and it was decided (or p_auto_refund decides) to pay
--                     it back, which has not happened yet.
create or replace function public.sweep_findings(
  p_grace_seconds double precision, p_deadline_seconds double precision, p_max_redrives integer,
  p_bucket text, p_auto_refund boolean default false, p_limit integer default 200)
returns table (finding text, order_id uuid, user_id uuid, customization_id uuid, redrives integer,
  status text, variant_number integer, storage_path text)
language sql stable set search_path = '' as $$
  with active as (
    select o.*, greatest(o.created_at, o.handed_over_at, o.generation_started_at, o.redriven_at)
      < now() - make_interval(secs => p_deadline_seconds)
      and not exists (select from public.variant_claims c
        where c.order_id = o.id and c.leased_until > clock_timestamp()) as stuck
    from public.orders o where o.status in ('paid', 'generating') and o.duplicate_of is null
  ), final as (
    select o.*, (select count(*) from public.song_variants v
        where v.order_id = o.id and v.generation_status = 'complete') as complete
    from public.orders o
    where o.status in ('completed', 'failed', 'refunded') and o.duplicate_of is null
  ), found as (
    select 'not_handed_over' as finding, a.id from active a
    where a.handed_over_at is null
      and a.created_at < now() - make_interval(secs => p_grace_seconds)
    union all
    select case when a.redrives >= p_max_redrives then 'given_up' else 'stuck' end, a.id
    from active a where a.handed_over_at is not null and a.stuck
    union all
    select 'no_dead_letter', f.id from final f
    where f.status = 'failed' and f.complete = 0
      and not exists (select from public.failed_jobs j where j.order_id = f.id)
    union all
    select 'refund_due', f.id from final f
    where f.status = 'failed' and f.complete = 0 and f.payment_intent is not null
      and f.amount > 0 and f.refund_id is null
      and (f.refund_requested_at is not null
        or (p_auto_refund and public.has_open_dead_letter(f.id)
          and not public.is_operators_business(f.id)))
    union all
    select 'contradiction', f.id from final f
    where (f.status = 'failed' and f.complete > 0) or (f.status = 'completed' and f.complete = 0)
      or exists (select from public.song_variants v
        where v.order_id = f.id and v.generation_status in ('pending', 'generating')
          and not exists (select from public.variant_claims c where c.order_id = v.order_id
            and c.variant_number = v.variant_number and c.leased_until > clock_timestamp()))
  )
  -- In no order, so that the ones that cannot be healed now do not keep the rest out of the limit.
  select * from (
    select found.finding, o.id, o.user_id, o.customization_id, o.redrives, o.status,
      null::integer, null::text
    from found join public.orders o using (id)
    union all
    select 'audio_unclaimed', f.id, f.user_id, f.customization_id, f.redrives, f.status,
      v.variant_number, v.storage_path
    from final f
    join public.song_variants v on v.order_id = f.id and v.generation_status <> 'complete'
      and v.failure_reason is distinct from 'audio_unplayable'
    join storage.objects s on s.bucket_id = p_bucket and s.name = v.storage_path
    where f.status <> 'refunded' and not exists (select from public.variant_claims c
      where c.order_id = v.order_id and c.variant_number = v.variant_number
        and c.leased_until > clock_timestamp())
  ) as looked_at
  order by random() limit p_limit;
$$;

-- Makes a final order agree with its variants. Returns its state afterwards. An order that says
-- completed without a song goes back to generating, so that the sweep starts it anew.
create or replace function public.settle_order(p_order_id uuid) returns text
language plpgsql set search_path = '' as $$
declare
  o public.orders;
  complete integer;
  target text;
begin
  select * into o from public.orders where id = p_order_id for update;
  if o.status = 'refunded' then
    perform public.fail_unfinished(o.id, 'refunded');
  end if;
  if o.status is null or o.status not in ('completed', 'failed') then
    return coalesce(o.status, 'missing');
  end if;
  select count(*) into complete from public.song_variants v
  where v.order_id = o.id and v.generation_status = 'complete';
  target := case when complete > 0 then 'completed'
    when o.status = 'completed' then 'generating' else 'failed' end;
  if target <> 'generating' then
    perform public.fail_unfinished(o.id, 'abandoned');
  end if;
  if target <> o.status then
    update public.orders set status = target where id = o.id;
  end if;
  if target = 'completed' then
    perform public.resolve_dead_letters(o.id, 'Completed.');
  end if;
  return target;
end $$;
