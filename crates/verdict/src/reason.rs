//! The closed, published vocabulary of reasons.

use serde::{Deserialize, Serialize};

/// Why a request was allowed, held or refused. Retired reasons stay reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    // --- decided by rules
    /// A rule allows the cell.
    AllowedByRule,
    /// A rule refuses the cell.
    DeniedByRule,
    /// A rule stops the cell for a person to review.
    HeldByRule,
    /// A transfer regime has no allow for the cell.
    NoGround,
    /// An order of an authority covers the flow.
    OrderInForce,
    /// A fact that a rule needs is unknown.
    MissingFact,
    /// Two sources of a fact contradict each other.
    Contradiction,
    // --- facts
    /// A dataset named by the caller is not in the catalogue, or the caller has no right to it.
    UnknownDataset,
    /// No dataset was declared and the (organisation, service) has no default profile.
    NoDataProfile,
    /// No site is registered that serves this.
    NoSite,
    /// The pinned site is not known or not permitted.
    PinRefused,
    // --- access
    /// The organisation's access policy does not let this caller do this.
    AccessDenied,
    /// The organisation or service is not registered.
    UnknownOrganisation,
    // --- identity (401)
    Unauthenticated,
    // --- the request itself
    Framing,
    HostInvalid,
    AuthorityMismatch,
    PathInvalid,
    HeaderInvalid,
    MethodRefused,
    RouteUnknown,
    UpgradeRefused,
    MediaTypeRefused,
    ContentEncodingRefused,
    BodyTooLarge,
    BodyTooSlow,
    BodyAmbiguous,
    BodyInvalid,
    DeclarationInvalid,
    DeclarationConflict,
    /// The protocol knows it, this gateway does not carry it (e.g. stored responses).
    OperationUnsupported,
    // --- the gateway
    EngineDisagreement,
    EngineError,
    AuditUnavailable,
    Overloaded,
    Draining,
    // --- the site
    SiteUnavailable,
    SiteIdentityMismatch,
    SiteTimeout,
}
