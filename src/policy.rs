//! What is allowed: facts become a decision.
//!
//! *Invariant:* a bundle in force is immutable; a request keeps the one it began with to its end.

// CONTRACT (gate, console and cli call exactly this):
//
// pub struct Policy { .. }                              // ArcSwap<Bundle>
// impl Policy {
//     pub async fn load(dir: &Path, at_unix_s: i64) -> Result<Self, BundleError>;   // strict, canaries and cases passed
//     pub fn current(&self) -> Arc<Bundle>;
// }
// impl Bundle {
//     pub fn digest(&self) -> &str;                     // "sha256:..."
//     pub fn texts(&self) -> &[u8];                     // canonical bytes of the bundle's content, kept by audit
//     pub fn rules(&self) -> &verdict::Rulebook;
//     /// casbin and the pure matcher at each memo miss; they disagree -> DENY ENGINE_DISAGREEMENT.
//     pub fn judge(&self, facts: &Facts, at_unix_s: i64) -> Judgement;
//     /// Access: may these roles of this organisation do `operation` on `service`?
//     pub fn access(&self, org: &str, roles: &[Arc<str>], service: &str, operation: &str) -> Result<(), Why>;
// }
