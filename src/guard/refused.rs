//! Why the guard let something not in: a closed, published list. Each says what to do next.

use hyper::StatusCode;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $status:ident $code:literal $message:literal)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refused { $($(#[$doc])* $name,)* }

        impl Refused {
            /// All of them, in the order of the checks.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As in the journal, the metrics and the answer.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// One sentence for whoever sent it.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

refusals! {
    NoReceipt FORBIDDEN "receipt_missing"
        "This site takes only what Haetae has decided and recorded: send the request to the gateway, which adds `Haetae-Receipt` and `Haetae-Leaf`."
    Malformed FORBIDDEN "receipt_malformed"
        "`Haetae-Receipt` or `Haetae-Leaf` cannot be read: each must come once, as `:base64:` of a C2SP tlog-proof and of a leaf."
    Untrusted FORBIDDEN "receipt_not_trusted"
        "The receipt does not prove its leaf under this site's trust file: ask the site which logs and witnesses it trusts."
    /// Two trees of its lane were seen that do not extend each other.
    Forked FORBIDDEN "receipt_of_a_forked_log"
        "The log that the receipt is from contradicts itself or what it published, so this site lets in nothing of it: its operator must be asked."
    NotFollowed SERVICE_UNAVAILABLE "log_not_followed"
        "This site could not read the published log, or not find receipts' trees in it, for longer than it goes on with receipts alone: it lets nothing in until it can."
    NotAllowed FORBIDDEN "receipt_not_an_allow"
        "The record that the receipt proves does not allow anything: the gateway's answer says why."
    OtherSite FORBIDDEN "receipt_of_another_site"
        "The record allows another site: a receipt opens only the site that it names."
    OtherRequest FORBIDDEN "receipt_of_another_request"
        "The record allows another request: method, authority, path and content type must be the recorded ones."
    FromTheFuture FORBIDDEN "receipt_from_the_future"
        "The record is later than this site's clock allows: the clocks of site and gateway differ; set one of them right."
    TooOld FORBIDDEN "receipt_too_old"
        "The record is too old to be used: ask the gateway again."
    BeforeStart FORBIDDEN "receipt_before_start"
        "The record is older than this guard's start, so it cannot know whether it was used: ask the gateway again."
    BodyTooLarge PAYLOAD_TOO_LARGE "body_too_large"
        "The body is longer than this site takes: its guard's `body_bytes_max` says how long."
    OtherBody FORBIDDEN "receipt_of_another_body"
        "The body is not the recorded one: length and SHA-256 must be those of the record."
    Used FORBIDDEN "receipt_used"
        "The receipt was used before: each opens the site once."
    NoJournal SERVICE_UNAVAILABLE "journal_unavailable"
        "The guard cannot write its journal, so it lets nothing in: tell the site's operator."
    ServiceDown BAD_GATEWAY "service_unavailable"
        "The request was let in, and the service behind the guard did not answer."
}
