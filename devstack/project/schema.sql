-- What a Supabase project's database holds before the first migration: roles, their rights and
-- timeouts, and the auth and storage schemas, cut down to what this service and its shop use.
-- Run by the superuser at every start, in one transaction, so every statement may run again.
--
-- Unlike a project: the extension safeupdate is not available (an update or delete without a filter
-- is not refused), nor are pgcrypto and uuid-ossp (gen_random_uuid() is part of PostgreSQL).

-- Roles -------------------------------------------------------------------------------------------

do $$
declare
  wanted text;
begin
  foreach wanted in array array[
    'anon', 'authenticated', 'service_role', 'authenticator', 'postgres',
    'supabase_auth_admin', 'supabase_storage_admin'
  ] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I', wanted);
    end if;
  end loop;
end $$;

alter role anon nologin noinherit;
alter role authenticated nologin noinherit;
alter role service_role nologin noinherit bypassrls;
alter role authenticator login noinherit;
alter role supabase_auth_admin nologin noinherit createrole;
alter role supabase_storage_admin login noinherit createrole;
-- Migrations run as postgres, which is no superuser on Supabase.
alter role postgres login inherit createrole createdb bypassrls replication;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
-- Also cuts service_role's calls through the API: it has no timeout of its own.
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to supabase_storage_admin;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

-- The owner of the database owns schema public.
alter database postgres owner to postgres;
alter database postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, extensions;

-- No default privileges for the API's roles on what migrations create in public: projects have had
-- none since 2026-10-30. Every grant must be spelled out.
grant usage on schema public to anon, authenticated, service_role;

create schema if not exists extensions authorization postgres;
grant usage on schema extensions to anon, authenticated, service_role;

-- Auth --------------------------------------------------------------------------------------------

create schema if not exists auth authorization supabase_auth_admin;
grant usage on schema auth to anon, authenticated, service_role, postgres;

create table if not exists auth.users (
  instance_id uuid,
  id uuid primary key default gen_random_uuid(),
  aud varchar(255),
  role varchar(255),
  email varchar(255),
  encrypted_password varchar(255),
  email_confirmed_at timestamptz,
  last_sign_in_at timestamptz,
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  deleted_at timestamptz,
  is_anonymous boolean not null default false
);
alter table auth.users owner to supabase_auth_admin;
alter table auth.users enable row level security;
create unique index if not exists users_email_key on auth.users (email);
grant select, insert, update, delete, references, trigger on auth.users to postgres;

create or replace function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;

create or replace function auth.uid() returns uuid language sql stable as $$
  select nullif(auth.jwt() ->> 'sub', '')::uuid
$$;

create or replace function auth.role() returns text language sql stable as $$
  select auth.jwt() ->> 'role'
$$;

create or replace function auth.email() returns text language sql stable as $$
  select auth.jwt() ->> 'email'
$$;

alter function auth.jwt() owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;

-- Storage -----------------------------------------------------------------------------------------

create schema if not exists storage authorization supabase_storage_admin;
grant usage on schema storage to anon, authenticated, service_role, postgres;

do $$
begin
  if to_regtype('storage.buckettype') is null then
    create type storage.buckettype as enum ('STANDARD', 'ANALYTICS', 'VECTOR');
    alter type storage.buckettype owner to supabase_storage_admin;
  end if;
end $$;

create table if not exists storage.buckets (
  id text primary key,
  name text not null unique,
  owner uuid,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  public boolean default false,
  avif_autodetection boolean default false,
  file_size_limit bigint,
  allowed_mime_types text[],
  owner_id text,
  type storage.buckettype not null default 'STANDARD'
);

create table if not exists storage.objects (
  id uuid primary key default gen_random_uuid(),
  bucket_id text references storage.buckets (id),
  name text collate "C",
  owner uuid,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  last_accessed_at timestamptz default now(),
  metadata jsonb,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored,
  version text,
  owner_id text,
  user_metadata jsonb
);
create unique index if not exists bucketid_objname on storage.objects (bucket_id, name);

alter table storage.buckets owner to supabase_storage_admin;
alter table storage.objects owner to supabase_storage_admin;
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role, postgres;

create or replace function storage.foldername(name text) returns text[] language sql immutable as $$
  select (string_to_array(name, '/'))[1 : array_length(string_to_array(name, '/'), 1) - 1]
$$;

create or replace function storage.filename(name text) returns text language sql immutable as $$
  select (string_to_array(name, '/'))[array_length(string_to_array(name, '/'), 1)]
$$;

create or replace function storage.extension(name text) returns text language sql immutable as $$
  select split_part(storage.filename(name), '.', -1)
$$;

create or replace function storage.protect_delete() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('storage.allow_delete_query', true), 'false') <> 'true' then
    raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
      using errcode = '42501', hint = 'This prevents accidental data loss from orphaned objects.';
  end if;
  return null;
end $$;

create or replace trigger protect_buckets_delete before delete on storage.buckets
  for each statement execute function storage.protect_delete();
create or replace trigger protect_objects_delete before delete on storage.objects
  for each statement execute function storage.protect_delete();

alter function storage.foldername(text) owner to supabase_storage_admin;
alter function storage.filename(text) owner to supabase_storage_admin;
alter function storage.extension(text) owner to supabase_storage_admin;
alter function storage.protect_delete() owner to supabase_storage_admin;

-- A project lets postgres create and drop policies and triggers on these schemas' tables, and nothing
-- else that takes an owner. PostgreSQL has no such right (Supabase adds an extension for it), so
-- postgres is made an owner here, and the rest is refused.

grant supabase_auth_admin, supabase_storage_admin to postgres;

create or replace function extensions.refuse_changes() returns event_trigger
language plpgsql as $$
declare
  changed record;
begin
  if session_user <> 'postgres' then
    return;
  end if;
  for changed in select * from pg_event_trigger_ddl_commands() loop
    if changed.schema_name in ('auth', 'storage')
       and changed.command_tag !~ 'POLICY|TRIGGER|^GRANT|^REVOKE|^COMMENT' then
      raise exception 'must be owner of %', changed.object_identity using errcode = '42501';
    end if;
  end loop;
end $$;

create or replace function extensions.refuse_drops() returns event_trigger
language plpgsql as $$
declare
  dropped record;
begin
  if session_user <> 'postgres' then
    return;
  end if;
  for dropped in select * from pg_event_trigger_dropped_objects() loop
    if coalesce(dropped.schema_name, dropped.object_name) in ('auth', 'storage')
       and dropped.object_type not in ('policy', 'trigger') then
      raise exception 'must be owner of %', dropped.object_identity using errcode = '42501';
    end if;
  end loop;
end $$;

-- PostgREST reads the schema again after a change, also one that no migration made.
create or replace function extensions.tell_postgrest() returns event_trigger
language plpgsql as $$
begin
  notify pgrst, 'reload schema';
end $$;

drop event trigger if exists refuse_changes;
create event trigger refuse_changes on ddl_command_end
  execute function extensions.refuse_changes();
drop event trigger if exists refuse_drops;
create event trigger refuse_drops on sql_drop execute function extensions.refuse_drops();
drop event trigger if exists tell_postgrest;
create event trigger tell_postgrest on ddl_command_end
  when tag in ('CREATE TABLE', 'ALTER TABLE', 'CREATE VIEW', 'ALTER VIEW', 'CREATE FUNCTION',
               'ALTER FUNCTION', 'CREATE TYPE', 'ALTER TYPE', 'GRANT', 'REVOKE')
  execute function extensions.tell_postgrest();
