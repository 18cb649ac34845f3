-- The gateway writes the values behind salted digests and never reads them: who breaks into it learns no names of before.

revoke select on audit_private from haetae_gateway;
