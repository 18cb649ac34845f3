-- Administrators of an organisation register its webhooks through the gateway. It reads secrets already, to sign with them.
grant insert (org, url, made_by), update (removed_at) on webhook to haetae_gateway;
grant insert (webhook, secret), update (valid_until) on webhook_secret to haetae_gateway;
