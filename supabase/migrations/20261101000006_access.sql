-- Who may do what. Anonymous visitors get nothing but a shared song by its token; a signed-in buyer
-- reads their own orders, variants and audio and may set `selected`; the rest is the service role's.

-- Old policies on these tables let everyone read variants and owners change their order's state.
do $$
declare old record;
begin
  for old in
    select schemaname, tablename, policyname from pg_catalog.pg_policies
    where (schemaname = 'public' and tablename in
        ('orders', 'song_variants', 'failed_jobs', 'purchases', 'variant_claims',
         'undelivered_audio', 'stripe_events'))
      or (schemaname = 'storage' and tablename = 'objects'
        and concat(qual, with_check) ~ '''songs''')
  loop
    execute format('drop policy %I on %I.%I', old.policyname, old.schemaname, old.tablename);
  end loop;
end $$;

alter table public.users enable row level security;
alter table public.customizations enable row level security;
alter table public.orders enable row level security;
alter table public.song_variants enable row level security;
alter table public.failed_jobs enable row level security;
alter table public.purchases enable row level security;
alter table public.variant_claims enable row level security;
alter table public.undelivered_audio enable row level security;
alter table public.stripe_events enable row level security;

revoke all on public.users, public.customizations, public.orders, public.song_variants,
  public.failed_jobs, public.purchases, public.variant_claims, public.undelivered_audio,
  public.stripe_events from anon;
revoke all on public.orders, public.song_variants, public.failed_jobs, public.purchases,
  public.variant_claims, public.undelivered_audio, public.stripe_events from authenticated;

grant usage on schema public to anon, authenticated, service_role;
grant select, insert, update, delete on public.users, public.customizations, public.orders,
  public.song_variants, public.failed_jobs, public.purchases, public.variant_claims,
  public.undelivered_audio, public.stripe_events to service_role;

grant select on public.orders, public.song_variants to authenticated;
grant update (selected) on public.song_variants to authenticated;

create policy "buyers read their own orders" on public.orders
  for select to authenticated using (user_id = (select auth.uid()));
create policy "buyers read their own variants" on public.song_variants
  for select to authenticated using (user_id = (select auth.uid()));
create policy "buyers choose among their own variants" on public.song_variants
  for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
values ('songs', 'songs', false, 52428800, array['audio/mpeg'])
on conflict (id) do update set public = false;

create policy "buyers read their own songs" on storage.objects
  for select to authenticated
  using (bucket_id = 'songs' and (storage.foldername(name))[1] = (select auth.uid())::text);

-- A shared song is found by whoever has its token, and by no other way. It gives no path and no
-- name: the shop front signs the address of the audio itself.
create or replace function public.shared_song(p_share_token uuid)
returns table (id uuid, variant_number integer, duration_ms integer, completed_at timestamptz)
language sql stable security definer set search_path = '' as $$
  select v.id, v.variant_number, v.duration_ms, v.completed_at
  from public.song_variants v
  where v.share_token = p_share_token and v.generation_status = 'complete';
$$;

do $$
declare routine text;
begin
  foreach routine in array array[
    'touch_updated_at', 'resolve_dead_letters', 'mark_handed_over', 'begin_generation',
    'claim_variant', 'finish_variant', 'close_purchase', 'keep_audio', 'kept_audio', 'release_claim',
    'fail_unfinished', 'finalize_order', 'record_failure', 'record_checkout', 'checkout_problem',
    'payment_ended', 'payment_refunded', 'record_refund', 'sweep_findings', 'settle_order',
    'request_refund', 'is_operators_business', 'has_open_dead_letter', 'mark_refunded']
  loop
    execute format('revoke execute on function public.%I from public, anon, authenticated', routine);
    execute format('grant execute on function public.%I to service_role', routine);
  end loop;
end $$;
revoke execute on function public.shared_song from public;
grant execute on function public.shared_song to anon, authenticated, service_role;
