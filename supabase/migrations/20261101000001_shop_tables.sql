-- The tables that SongSwipe has always had. On its live database they exist, and this file only
-- fills in what is missing; on an empty project it makes them.

do $$ begin
  create type public.generation_status as enum ('pending', 'generating', 'complete', 'failed');
exception when duplicate_object then null;
end $$;

create table if not exists public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  email text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table if not exists public.customizations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  recipient_name text not null check (char_length(recipient_name) <= 100),
  your_name text not null check (char_length(your_name) <= 100),
  occasion text not null check (occasion in
    ('valentines', 'birthday', 'anniversary', 'wedding', 'graduation', 'just-because')),
  song_length integer not null check (song_length in (60, 90, 120)),
  mood text[] not null check (cardinality(mood) > 0 and
    mood <@ array['romantic', 'happy', 'funny', 'nostalgic', 'epic']),
  genre text not null check (genre in ('pop', 'acoustic', 'electronic', 'orchestral', 'jazz')),
  special_memories text check (char_length(special_memories) <= 500),
  things_to_avoid text check (char_length(things_to_avoid) <= 300),
  prompt text not null,
  created_at timestamptz not null default now()
);

create table if not exists public.orders (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  customization_id uuid not null references public.customizations (id) on delete cascade,
  stripe_session_id text,
  status text not null default 'pending',
  amount integer,
  occasion_date date,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table if not exists public.song_variants (
  id uuid primary key default gen_random_uuid(),
  order_id uuid not null references public.orders (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  variant_number integer not null check (variant_number between 1 and 5),
  storage_path text not null,
  duration_ms integer,
  generation_status public.generation_status not null default 'pending',
  share_token uuid unique not null default gen_random_uuid(),
  selected boolean not null default false,
  created_at timestamptz not null default now(),
  completed_at timestamptz,
  unique (order_id, variant_number)
);

create table if not exists public.failed_jobs (
  id uuid primary key default gen_random_uuid(),
  job_type text not null,
  event_data jsonb not null,
  error_message text not null,
  error_stack text,
  retry_count integer not null default 0,
  failed_at timestamptz not null default now(),
  resolved_at timestamptz,
  notes text
);

create or replace function public.touch_updated_at() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end $$;

create or replace trigger orders_touch_updated_at before update on public.orders
  for each row execute function public.touch_updated_at();
