-- What Stripe's events do to orders. The decision what an event means is the service's; here it is
-- stored, in one transaction with the order, whatever arrives first and how often.

-- Stores one event about a Checkout Session. p_outcome is what it says of the payment:
--   paid, pending (completed but not paid yet), canceled (failed later, or expired).
-- p_problem says why the session cannot become an order, where the service saw that already.
-- One row: the order, its state, whether it was made now, whether generation has to be handed over
-- to Inngest, and what was done in one word:
--   created, updated, known, ignored, dead_lettered.
create or replace function public.record_checkout(
  p_event_id text, p_event_type text, p_event_created timestamptz, p_session_id text,
  p_payment_intent text, p_outcome text, p_user_id uuid, p_customization_id uuid,
  p_amount integer, p_currency text, p_problem text, p_event_data jsonb)
returns table (order_id uuid, user_id uuid, customization_id uuid, status text, action text,
  reason text, hand_over boolean)
language plpgsql set search_path = '' as $$
declare
  o public.orders;
  was public.orders;
  problem text := p_problem;
  target text := p_outcome;
  done text;
begin
  -- Forty deliveries of one session at once take turns here.
  perform pg_advisory_xact_lock(hashtextextended(p_session_id, 0));
  -- A refund of the same payment comes wholly before or wholly after.
  perform pg_advisory_xact_lock(hashtextextended(p_payment_intent, 1));
  select * into o from public.orders
  where stripe_session_id = p_session_id and duplicate_of is null for update;

  if found then
    done := 'known';
    was := o;
    o.payment_intent := coalesce(o.payment_intent, p_payment_intent);
    o.currency := coalesce(o.currency, p_currency);
    o.amount := coalesce(o.amount, p_amount);
    o.amount_refunded := greatest(o.amount_refunded, public.payment_refunded(o.payment_intent));
    if (p_outcome = 'paid' and o.status in ('pending', 'canceled'))
        or (p_outcome = 'canceled' and o.status = 'pending') then
      o.status := case when p_outcome = 'paid' and public.payment_ended(o.payment_intent, o.amount)
        then 'refunded' else p_outcome end;
      done := 'updated';
    end if;
    if o is distinct from was then
      update public.orders set status = o.status, payment_intent = o.payment_intent,
        currency = o.currency, amount = o.amount, amount_refunded = o.amount_refunded
      where id = o.id;
    end if;
  else
    if problem is null then
      problem := public.checkout_problem(p_user_id, p_customization_id);
    end if;
    if p_outcome = 'pending' and exists (select from public.stripe_events e
        where e.stripe_session_id = p_session_id
          and e.type in ('checkout.session.async_payment_failed', 'checkout.session.expired')) then
      target := 'canceled';
    end if;
    if p_outcome = 'canceled' then
      -- Nothing was bought, so there is no order to end; the event's row is enough to remember it.
      done := 'ignored';
      problem := 'nothing to cancel';
    elsif problem is not null then
      -- Nobody has to look after money that was not taken, or was given back.
      done := case when p_outcome = 'paid' and not public.payment_ended(p_payment_intent, p_amount)
        then 'dead_lettered' else 'ignored' end;
      if done = 'dead_lettered' then
        insert into public.failed_jobs (job_type, stripe_session_id, event_data, error_message, retry_count)
        values ('checkout', p_session_id, p_event_data, problem, 0)
        on conflict do nothing;
      end if;
    else
      if p_outcome = 'paid' and public.payment_ended(p_payment_intent, p_amount) then
        target := 'refunded';
      end if;
      insert into public.orders (user_id, customization_id, stripe_session_id, payment_intent,
        status, amount, currency, amount_refunded)
      values (p_user_id, p_customization_id, p_session_id, p_payment_intent, target, p_amount,
        p_currency, public.payment_refunded(p_payment_intent))
      returning * into o;
      done := 'created';
      update public.failed_jobs f set resolved_at = now(), notes = concat_ws(' ', f.notes, 'Order made.')
      where f.job_type = 'checkout' and f.stripe_session_id = p_session_id and f.resolved_at is null;
    end if;
  end if;

  insert into public.stripe_events (id, type, stripe_session_id, payment_intent, created_at, outcome)
  values (p_event_id, p_event_type, p_session_id, p_payment_intent, p_event_created, done)
  on conflict do nothing;
  return query select o.id, o.user_id, o.customization_id, o.status, done, problem,
    coalesce(o.status = 'paid', false);
end $$;

-- Why a session cannot become an order, or null.
create or replace function public.checkout_problem(p_user_id uuid, p_customization_id uuid)
returns text
language sql stable set search_path = '' as $$
  select case
    when not exists (select from public.users u where u.id = p_user_id) then 'user_missing'
    when not exists (select from public.customizations c where c.id = p_customization_id)
      then 'customization_missing'
    when not exists (select from public.customizations c
      where c.id = p_customization_id and c.user_id = p_user_id) then 'customization_of_another_user'
  end;
$$;

-- Whether the whole payment was given back, or is disputed.
create or replace function public.payment_ended(p_payment_intent text, p_amount integer)
returns boolean
language sql stable set search_path = '' as $$
  select exists (select from public.stripe_events e
    where e.payment_intent = p_payment_intent
      and (e.ends_payment or (p_amount > 0 and e.refund_amount >= p_amount)));
$$;

-- What is known to have been given back of a payment so far; null where nothing was.
create or replace function public.payment_refunded(p_payment_intent text) returns integer
language sql stable set search_path = '' as $$
  select max(greatest(e.amount_refunded, e.refund_amount)) from public.stripe_events e
  where e.payment_intent = p_payment_intent;
$$;

-- Stores one event about a refund or a dispute. p_ends_payment: Stripe says that nothing is left of
-- the payment; a single refund of the whole amount says the same. A paid order then ends as refunded
-- and nothing more is bought for it; one that was never paid waits for what its payment becomes. The
-- event may arrive before the order: then record_checkout finds it. A paid session that could not
-- become an order needs nobody's care any more. One row; action is updated, recorded or known.
create or replace function public.record_refund(
  p_event_id text, p_event_type text, p_event_created timestamptz, p_payment_intent text,
  p_amount_refunded integer, p_refund_amount integer, p_ends_payment boolean)
returns table (order_id uuid, status text, action text, cancel_run boolean)
language plpgsql set search_path = '' as $$
declare
  o public.orders;
  was text;
  ended boolean;
  given_back integer;
  done text := 'recorded';
begin
  perform pg_advisory_xact_lock(hashtextextended(p_payment_intent, 1));
  if exists (select from public.stripe_events e where e.id = p_event_id) then
    done := 'known';
  end if;
  insert into public.stripe_events (id, type, payment_intent, created_at, received_at, outcome,
    amount_refunded, refund_amount, ends_payment)
  values (p_event_id, p_event_type, p_payment_intent, p_event_created, clock_timestamp(), done,
    p_amount_refunded, p_refund_amount, p_ends_payment)
  on conflict do nothing;
  select * into o from public.orders
  where payment_intent = p_payment_intent and duplicate_of is null
  order by created_at limit 1 for update;
  if found then
    was := o.status;
    ended := was in ('paid', 'generating', 'completed', 'failed')
      and public.payment_ended(p_payment_intent, o.amount);
    given_back := greatest(o.amount_refunded, p_amount_refunded, p_refund_amount);
    if ended or given_back is distinct from o.amount_refunded then
      update public.orders set status = case when ended then 'refunded' else was end,
        amount_refunded = given_back
      where id = o.id returning * into o;
    end if;
    if o.status <> was then
      done := 'updated';
      -- Only now is it certain that no purchase can start: claims wait for this row.
      update public.stripe_events set outcome = done, received_at = clock_timestamp()
      where id = p_event_id;
    end if;
    if o.status = 'refunded' then
      perform public.fail_unfinished(o.id, 'refunded');
      perform public.resolve_dead_letters(o.id, 'Refunded.');
    end if;
  elsif p_ends_payment then
    update public.failed_jobs f set resolved_at = now(), notes = concat_ws(' ', f.notes, 'Refunded.')
    where f.job_type = 'checkout' and f.resolved_at is null and f.stripe_session_id in (
      select e.stripe_session_id from public.stripe_events e
      where e.payment_intent = p_payment_intent);
  end if;
  return query select o.id, o.status, done, coalesce(o.status = 'refunded', false);
end $$;

-- Decides, once, that a failed order is paid back by the service itself: it has no song, money was
-- taken, and the fault was not the operator's (a key, a plan, a quota), who would rather mend it and
-- play the run again. Whoever has closed the dead letter by hand has dealt with it in another way.
-- From here on no run of the order buys anything. Returns the payment intent, and no row where no
-- refund is due.
create or replace function public.request_refund(p_order_id uuid) returns setof text
language plpgsql set search_path = '' as $$
declare o public.orders;
begin
  select * into o from public.orders where id = p_order_id for update;
  if o.status is distinct from 'failed' or o.payment_intent is null
      or o.refund_id is not null or coalesce(o.amount, 0) <= 0 then
    return;
  end if;
  if exists (select from public.song_variants v
             where v.order_id = o.id and v.generation_status = 'complete') then
    return;
  end if;
  if o.refund_requested_at is null
      and (public.is_operators_business(o.id) or not public.has_open_dead_letter(o.id)) then
    return;
  end if;
  update public.orders set refund_requested_at = coalesce(refund_requested_at, now())
  where id = o.id;
  return next o.payment_intent;
end $$;

create or replace function public.is_operators_business(p_order_id uuid) returns boolean
language sql stable set search_path = '' as $$
  select exists (select from public.purchases p
    where p.order_id = p_order_id and p.operators_business
      and p.run_id = (select q.run_id from public.purchases q
        where q.order_id = p_order_id order by q.opened_at desc limit 1));
$$;

create or replace function public.has_open_dead_letter(p_order_id uuid) returns boolean
language sql stable set search_path = '' as $$
  select exists (select from public.failed_jobs j
    where j.order_id = p_order_id and j.resolved_at is null);
$$;

-- Stripe has taken the refund that request_refund decided on. A song that turned up meanwhile stays
-- the customer's.
create or replace function public.mark_refunded(p_order_id uuid, p_refund_id text) returns text
language plpgsql set search_path = '' as $$
declare state text;
begin
  update public.orders set refund_id = p_refund_id, amount_refunded = amount,
    status = case when status in ('paid', 'generating', 'completed', 'failed') then 'refunded'
      else status end
  where id = p_order_id returning status into state;
  if state = 'refunded' then
    perform public.fail_unfinished(p_order_id, 'refunded');
    perform public.resolve_dead_letters(p_order_id, 'Refunded automatically.');
  end if;
  return coalesce(state, 'missing');
end $$;
