-- The predecessor's live database, as its migrations left it: its tables, its defaults and its
-- policies, the wrong ones included. What ours must apply on top of.

-- Projects of that age give the API's roles every right on whatever is made in public.
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public
  grant execute on functions to anon, authenticated, service_role;

create type public.generation_status as enum ('pending', 'generating', 'complete', 'failed');

create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  email text not null,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.customizations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  recipient_name text not null,
  your_name text not null,
  occasion text not null,
  song_length integer not null,
  mood text[] not null,
  genre text not null,
  special_memories text,
  things_to_avoid text,
  prompt text not null,
  created_at timestamptz default now()
);

create table public.orders (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  customization_id uuid not null references public.customizations (id) on delete cascade,
  stripe_session_id text,
  status text not null default 'pending'
    check (status in ('pending', 'paid', 'generating', 'completed', 'failed')),
  amount integer not null default 799,
  occasion_date date,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.song_variants (
  id uuid primary key default gen_random_uuid(),
  order_id uuid not null references public.orders (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  variant_number integer not null check (variant_number between 1 and 5),
  storage_path text not null,
  duration_ms integer,
  generation_status public.generation_status default 'pending',
  share_token uuid unique not null default gen_random_uuid(),
  selected boolean default false,
  created_at timestamptz default now(),
  completed_at timestamptz,
  unique (order_id, variant_number)
);

create table public.failed_jobs (
  id uuid primary key default gen_random_uuid(),
  job_type text not null,
  event_data jsonb not null,
  error_message text not null,
  error_stack text,
  retry_count integer default 0,
  failed_at timestamptz default now(),
  resolved_at timestamptz,
  notes text
);

create function public.update_updated_at_column() returns trigger language plpgsql as $$
begin
  new.updated_at = now();
  return new;
end $$;
create trigger update_orders_updated_at before update on public.orders
  for each row execute function public.update_updated_at_column();

alter table public.users enable row level security;
alter table public.customizations enable row level security;
alter table public.orders enable row level security;
alter table public.song_variants enable row level security;
alter table public.failed_jobs enable row level security;

create policy "Users can view own profile" on public.users for select using (auth.uid() = id);
create policy "Users can view own orders" on public.orders for select using (auth.uid() = user_id);
create policy "Users can update own orders" on public.orders
  for update using (auth.uid() = user_id);
create policy "Users can view own variants" on public.song_variants
  for select using (auth.uid() = user_id);
create policy "Anyone can view shared variants" on public.song_variants
  for select using (share_token is not null);
create policy "Service role can manage failed jobs" on public.failed_jobs for all using (true);

insert into storage.buckets (id, name, public) values ('songs', 'songs', true);
create policy "Service role can upload songs" on storage.objects
  for insert with check (bucket_id = 'songs');
create policy "Service role can read songs" on storage.objects
  for select using (bucket_id = 'songs');

-- One customer; a session that was delivered twice, one of its orders completed; a session whose
-- three orders all stayed paid; and orders without a session, from before Stripe.
insert into auth.users (id, email)
values ('00000000-0000-4000-8000-000000000001', 'buyer@example.test');
insert into public.users (id, email)
values ('00000000-0000-4000-8000-000000000001', 'buyer@example.test');
insert into public.customizations
  (id, user_id, recipient_name, your_name, occasion, song_length, mood, genre, prompt)
values ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001', 'a', 'b',
  'birthday', 60, array['happy'], 'pop', 'old');
insert into public.orders (id, user_id, customization_id, stripe_session_id, status, created_at)
select ('00000000-0000-4000-8000-0000000000' || old.id)::uuid,
  '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002',
  old.session, old.status, timestamptz '2026-10-01' + old.age
from (values
  ('a1', 'cs_twice', 'paid', interval '1 minute'),
  ('a2', 'cs_twice', 'completed', interval '2 minutes'),
  ('b1', 'cs_thrice', 'paid', interval '1 minute'),
  ('b2', 'cs_thrice', 'paid', interval '2 minutes'),
  ('b3', 'cs_thrice', 'paid', interval '3 minutes'),
  ('c1', 'cs_once', 'completed', interval '1 minute'),
  ('d1', null, 'pending', interval '1 minute'),
  ('d2', null, 'completed', interval '2 minutes')
) as old (id, session, status, age);
insert into public.song_variants
  (order_id, user_id, variant_number, storage_path, generation_status, duration_ms)
values ('00000000-0000-4000-8000-0000000000a2', '00000000-0000-4000-8000-000000000001', 1,
  'old/path.mp3', 'complete', 60000);
insert into public.failed_jobs (job_type, event_data, error_message, retry_count)
values ('song_generation', '{"orderId": "x"}', 'old', 3), ('song_generation', '{}', 'older', 3);
