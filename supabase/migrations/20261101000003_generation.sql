-- The transitions of an order that must be atomic. Each is safe to repeat, because the answer to a
-- call that committed can be lost. The service role alone may call them.
-- Locks are taken in one order everywhere: order, then variant, then the rest.

-- Ends the open dead letters of an order that has succeeded or been paid back.
create or replace function public.resolve_dead_letters(p_order_id uuid, p_note text) returns void
language sql set search_path = '' as $$
  update public.failed_jobs set resolved_at = now(), notes = concat_ws(' ', notes, p_note)
  where order_id = p_order_id and resolved_at is null;
$$;

-- Notes that Inngest has accepted the event. Also counts a re-drive, once, where p_redrive says which.
create or replace function public.mark_handed_over(p_order_id uuid, p_redrive integer default null)
returns void
language sql set search_path = '' as $$
  update public.orders set
    handed_over_at = coalesce(handed_over_at, now()),
    redriven_at = case when p_redrive is null then redriven_at else now() end,
    redrives = greatest(redrives, coalesce(p_redrive, 0))
  where id = p_order_id;
$$;

-- Starts or resumes generation. Returns one word:
--   generate  go on;  done  completed already;  missing  no such order of this customer;
--   pending, refunded, canceled  the state that forbids it.
-- A failed order starts over: its failed variants get another chance, except those whose purchases
-- twice ended in doubt, which no run may buy again.
create or replace function public.begin_generation(
  p_order_id uuid, p_user_id uuid, p_customization_id uuid) returns text
language plpgsql set search_path = '' as $$
declare o public.orders;
begin
  select * into o from public.orders
  where id = p_order_id and user_id = p_user_id and customization_id = p_customization_id
  for update;
  if not found then return 'missing'; end if;
  if o.status = 'completed' then return 'done'; end if;
  -- The money is on its way back, although Stripe has not confirmed it yet.
  if o.refund_requested_at is not null then return 'refunded'; end if;
  if o.status not in ('paid', 'generating', 'failed') then return o.status; end if;
  if o.status = 'failed' then
    update public.song_variants set generation_status = 'pending', failure_reason = null
    where order_id = o.id and generation_status = 'failed'
      and failure_reason is distinct from 'outcome_unknown';
  end if;
  if o.status <> 'generating' then
    update public.orders set status = 'generating', generation_started_at = now(),
      handed_over_at = coalesce(handed_over_at, now())
    where id = o.id;
  end if;
  return 'generate';
end $$;

-- Claims a variant for p_lease_seconds and, where it has to be bought, opens the purchase. One row:
--   decision  buy      a purchase is open under p_token: call the provider;
--             adopt    audio lies in Storage already: check it and finish;
--             kept     a bought song waits in the database: upload it and finish;
--             busy     somebody else holds the claim for retry_after_seconds more;
--             complete, failed  nothing to do;
--             stopped  the order may not buy; reason is its state.
-- A repeated call with the same token gets the same answer. p_ignore_audio buys although an object
-- exists, for the holder of the claim who found that it is not playable.
create or replace function public.claim_variant(
  p_order_id uuid, p_variant_number integer, p_token uuid, p_run_id text, p_attempt integer,
  p_lease_seconds double precision, p_prompt_sha256 text, p_model_id text, p_length_ms integer,
  p_bucket text, p_ignore_audio boolean default false)
returns table (decision text, reason text, retry_after_seconds double precision)
language plpgsql set search_path = '' as $$
declare
  v public.song_variants;
  held public.variant_claims;
  state text;
  doubts integer;
begin
  -- A shared lock: a refund, which updates this row, comes wholly before or wholly after.
  select o.status into state from public.orders o where o.id = p_order_id for share;
  if state is distinct from 'generating' then
    return query select 'stopped', coalesce(state, 'missing'), null::double precision; return;
  end if;
  select * into v from public.song_variants
  where order_id = p_order_id and variant_number = p_variant_number for update;
  if not found then
    return query select 'stopped', 'variant_missing', null::double precision; return;
  end if;
  if v.generation_status in ('complete', 'failed') then
    return query select v.generation_status::text, v.failure_reason, null::double precision; return;
  end if;
  select * into held from public.variant_claims
  where order_id = p_order_id and variant_number = p_variant_number;
  if held.token is distinct from p_token and held.leased_until > clock_timestamp() then
    return query select 'busy', 'claimed',
      extract(epoch from held.leased_until - clock_timestamp())::double precision;
    return;
  end if;
  if exists (select from public.purchases p where p.id = p_token and p.outcome is null) then
    return query select 'buy', null::text, null::double precision; return;
  end if;

  insert into public.variant_claims (order_id, variant_number, token, run_id, leased_until)
  values (p_order_id, p_variant_number, p_token, p_run_id,
    clock_timestamp() + make_interval(secs => p_lease_seconds))
  on conflict on constraint variant_claims_pkey do update set
    token = excluded.token, run_id = excluded.run_id, leased_until = excluded.leased_until;
  update public.song_variants set generation_status = 'generating' where id = v.id;
  -- Whoever opened it is gone, and with them the knowledge whether a song was made.
  update public.purchases p set outcome = 'unknown', reason = 'interrupted', closed_at = clock_timestamp()
  where p.order_id = p_order_id and p.variant_number = p_variant_number and p.outcome is null;

  if exists (select from public.undelivered_audio u
             where u.order_id = p_order_id and u.variant_number = p_variant_number) then
    return query select 'kept', null::text, null::double precision; return;
  end if;
  if not p_ignore_audio and exists (select from storage.objects s
      where s.bucket_id = p_bucket and s.name = v.storage_path) then
    return query select 'adopt', null::text, null::double precision; return;
  end if;
  select count(*) into doubts from public.purchases p
  where p.order_id = p_order_id and p.variant_number = p_variant_number and p.outcome = 'unknown';
  if doubts >= 2 then
    update public.song_variants set generation_status = 'failed', failure_reason = 'outcome_unknown'
    where id = v.id;
    delete from public.variant_claims c
    where c.order_id = p_order_id and c.variant_number = p_variant_number;
    return query select 'failed', 'outcome_unknown', null::double precision; return;
  end if;
  insert into public.purchases
    (id, order_id, variant_number, number, run_id, attempt, prompt_sha256, model_id, length_ms)
  select p_token, p_order_id, p_variant_number, coalesce(max(p.number), 0) + 1, p_run_id, p_attempt,
    p_prompt_sha256, p_model_id, p_length_ms
  from public.purchases p
  where p.order_id = p_order_id and p.variant_number = p_variant_number;
  return query select 'buy', null::text, null::double precision;
end $$;

-- The audio is in Storage: the variant is complete, its purchase delivered. Returns whether the
-- variant is complete now. A holder whose lease was taken over still completes it: the object is
-- there, and it can be complete only once.
create or replace function public.finish_variant(
  p_order_id uuid, p_variant_number integer, p_token uuid,
  p_duration_ms integer, p_size_bytes integer, p_provider_song_id text default null)
returns boolean
language plpgsql set search_path = '' as $$
declare v public.song_variants;
begin
  select * into v from public.song_variants
  where order_id = p_order_id and variant_number = p_variant_number for update;
  if not found then return false; end if;
  if v.generation_status <> 'complete' then
    update public.song_variants set generation_status = 'complete', failure_reason = null,
      duration_ms = p_duration_ms, completed_at = now()
    where id = v.id;
    -- The song was bought by the purchase under this token, or, where it was adopted, by the
    -- latest one whose outcome nobody learned.
    update public.purchases p set outcome = 'delivered', reason = null,
      closed_at = coalesce(p.closed_at, clock_timestamp()), duration_ms = p_duration_ms,
      size_bytes = p_size_bytes, provider_song_id = coalesce(p_provider_song_id, p.provider_song_id)
    where p.id = coalesce(
      (select q.id from public.purchases q where q.id = p_token),
      (select u.purchase_id from public.undelivered_audio u
       where u.order_id = p_order_id and u.variant_number = p_variant_number),
      (select q.id from public.purchases q
       where q.order_id = p_order_id and q.variant_number = p_variant_number
         and (q.outcome is null or q.outcome = 'unknown') order by q.number desc limit 1));
    update public.purchases p set outcome = 'unknown', reason = 'interrupted',
      closed_at = clock_timestamp()
    where p.order_id = p_order_id and p.variant_number = p_variant_number and p.outcome is null;
  end if;
  delete from public.undelivered_audio u
  where u.order_id = p_order_id and u.variant_number = p_variant_number;
  delete from public.variant_claims c
  where c.order_id = p_order_id and c.variant_number = p_variant_number and c.token = p_token;
  return true;
end $$;

-- No song under this token: closes the purchase (where one is open) and gives the claim back.
-- p_fail ends the variant with p_reason; otherwise it may be tried again, unless two purchases have
-- ended in doubt. Returns the variant's state.
create or replace function public.close_purchase(
  p_order_id uuid, p_variant_number integer, p_token uuid, p_outcome text, p_reason text,
  p_http_status integer, p_operators_business boolean, p_fail boolean) returns text
language plpgsql set search_path = '' as $$
declare
  v public.song_variants;
  doubts integer;
begin
  select * into v from public.song_variants
  where order_id = p_order_id and variant_number = p_variant_number for update;
  if not found then return 'missing'; end if;
  update public.purchases set outcome = p_outcome, reason = p_reason, http_status = p_http_status,
    operators_business = p_operators_business, closed_at = clock_timestamp()
  where id = p_token and outcome is null;
  delete from public.variant_claims c
  where c.order_id = p_order_id and c.variant_number = p_variant_number and c.token = p_token;
  if not found or v.generation_status in ('complete', 'failed') then
    return v.generation_status::text;
  end if;
  select count(*) into doubts from public.purchases p
  where p.order_id = p_order_id and p.variant_number = p_variant_number and p.outcome = 'unknown';
  if p_fail or doubts >= 2 then
    update public.song_variants set generation_status = 'failed',
      failure_reason = case when p_fail then p_reason else 'outcome_unknown' end
    where id = v.id;
    return 'failed';
  end if;
  update public.song_variants set generation_status = 'pending' where id = v.id;
  return 'pending';
end $$;

-- Keeps a bought song in the database because Storage would not take it. Gives the claim back; the
-- purchase is delivered in every sense but the customer's, so it is closed as such.
create or replace function public.keep_audio(
  p_order_id uuid, p_variant_number integer, p_token uuid, p_audio_base64 text,
  p_duration_ms integer, p_provider_song_id text default null) returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.song_variants
  where order_id = p_order_id and variant_number = p_variant_number for update;
  insert into public.undelivered_audio (order_id, variant_number, purchase_id, audio)
  select p_order_id, p_variant_number, p_token, decode(p_audio_base64, 'base64')
  where exists (select from public.song_variants v where v.order_id = p_order_id
    and v.variant_number = p_variant_number and v.generation_status <> 'complete')
  on conflict do nothing;
  update public.purchases set outcome = 'delivered', reason = 'kept_in_database',
    closed_at = clock_timestamp(), duration_ms = p_duration_ms,
    provider_song_id = p_provider_song_id
  where id = p_token and outcome is distinct from 'delivered';
  delete from public.variant_claims c
  where c.order_id = p_order_id and c.variant_number = p_variant_number and c.token = p_token;
  if found then
    update public.song_variants v set generation_status = 'pending'
    where v.order_id = p_order_id and v.variant_number = p_variant_number
      and v.generation_status = 'generating';
  end if;
end $$;

-- Gives a claim back without closing its purchase: for a holder whose song is safe in Storage or in
-- the database, so that the next one need not wait for the lease to end.
create or replace function public.release_claim(
  p_order_id uuid, p_variant_number integer, p_token uuid) returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.song_variants
  where order_id = p_order_id and variant_number = p_variant_number for update;
  delete from public.variant_claims c
  where c.order_id = p_order_id and c.variant_number = p_variant_number and c.token = p_token;
  if found then
    update public.song_variants set generation_status = 'pending'
    where order_id = p_order_id and variant_number = p_variant_number
      and generation_status = 'generating';
  end if;
end $$;

create or replace function public.kept_audio(p_order_id uuid, p_variant_number integer)
returns setof text
language sql stable set search_path = '' as $$
  select translate(encode(u.audio, 'base64'), E'\n', '') from public.undelivered_audio u
  where u.order_id = p_order_id and u.variant_number = p_variant_number;
$$;

-- Gives up on the variants that nobody works on: they are failed for p_reason. A purchase that one
-- of them left open was a dead process's, and nobody will learn how it ended.
create or replace function public.fail_unfinished(p_order_id uuid, p_reason text) returns void
language sql set search_path = '' as $$
  with failed as (
    update public.song_variants v set generation_status = 'failed', failure_reason = p_reason
    where v.order_id = p_order_id and v.generation_status in ('pending', 'generating')
      and not exists (select from public.variant_claims c where c.order_id = v.order_id
        and c.variant_number = v.variant_number and c.leased_until > clock_timestamp())
    returning v.variant_number
  )
  update public.purchases p set outcome = 'unknown', reason = 'interrupted',
    closed_at = clock_timestamp()
  from failed
  where p.order_id = p_order_id and p.variant_number = failed.variant_number and p.outcome is null;
$$;

-- Ends an order whose variants have all ended. Returns its state, or
--   in_progress  a variant is still being worked on, by another run say;
--   no_song      every variant failed: the run has to fail, and then the order does.
create or replace function public.finalize_order(p_order_id uuid) returns text
language plpgsql set search_path = '' as $$
declare
  state text;
  open_variants integer;
  complete integer;
begin
  select o.status into state from public.orders o where o.id = p_order_id for update;
  if state is distinct from 'generating' then return coalesce(state, 'missing'); end if;
  select count(*) filter (where v.generation_status in ('pending', 'generating')),
         count(*) filter (where v.generation_status = 'complete')
  into open_variants, complete
  from public.song_variants v where v.order_id = p_order_id;
  if open_variants > 0 then return 'in_progress'; end if;
  if complete = 0 then return 'no_song'; end if;
  update public.orders set status = 'completed' where id = p_order_id;
  perform public.resolve_dead_letters(p_order_id, 'Completed.');
  return 'completed';
end $$;

-- A run has failed. Whoever records it, and however often, there is one open dead letter for an
-- order that failed, and none for one that has a song. Returns the order's state afterwards, or
--   in_progress  another run is at work; nothing was changed and the sweep will look again.
create or replace function public.record_failure(
  p_job_type text, p_order_id uuid, p_run_id text, p_event_data jsonb,
  p_error_message text, p_error_stack text, p_retry_count integer) returns text
language plpgsql set search_path = '' as $$
declare
  state text;
  retries integer;
begin
  select o.status into state from public.orders o where o.id = p_order_id for update;
  if state in ('pending', 'refunded', 'canceled', 'completed') then return state; end if;
  if exists (select from public.variant_claims c join public.song_variants v
             using (order_id, variant_number)
             where c.order_id = p_order_id and c.leased_until > clock_timestamp()
               and v.generation_status = 'generating') then
    return 'in_progress';
  end if;
  if state is not null then
    perform public.fail_unfinished(p_order_id, 'run_failed');
    if exists (select from public.song_variants v
               where v.order_id = p_order_id and v.generation_status = 'complete') then
      update public.orders set status = 'completed' where id = p_order_id;
      perform public.resolve_dead_letters(p_order_id, 'Completed.');
      return 'completed';
    end if;
    update public.orders set status = 'failed' where id = p_order_id;
  end if;
  -- A run that only reports what an earlier one left behind used no retries itself. The ledger knows
  -- how far the last run went that called the provider.
  select greatest(p_retry_count, max(p.attempt)) into retries from public.purchases p
  where p.order_id = p_order_id and p.run_id = (select q.run_id from public.purchases q
    where q.order_id = p_order_id order by q.opened_at desc limit 1);
  -- An open one of this order is brought up to date by a later run, never by a repeat of the same.
  update public.failed_jobs set run_id = p_run_id, event_data = p_event_data,
    error_message = p_error_message, error_stack = p_error_stack, retry_count = retries,
    failed_at = now()
  where job_type = p_job_type and resolved_at is null and order_id = p_order_id
    and run_id is distinct from p_run_id;
  insert into public.failed_jobs (job_type, order_id, run_id, event_data, error_message,
    error_stack, retry_count)
  values (p_job_type, p_order_id, p_run_id, p_event_data, p_error_message, p_error_stack,
    retries)
  on conflict do nothing;
  return case when state is null then 'missing' else 'failed' end;
end $$;
