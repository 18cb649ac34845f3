-- What a gateway made of a lane is sealed with the log's key (src/audit/seal.rs): records that somebody else puts behind the newest signed
-- checkpoint are not taken over and signed. Heads of before have none until their next commit.
alter table log_head add column if not exists seal sha256_digest;
grant update (seal) on log_head to haetae_gateway;
-- A gateway of before does not judge tables of later versions (src/audit/tables.rs).
grant select on _sqlx_migrations to haetae_gateway;
