//! The rules that refuse a request below HTTP: a closed, published list.

use hyper::http::StatusCode;

/// Why a request was refused below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    BareLf,
    ControlByte,
    RequestLine,
    Target,
    Version,
    FieldName,
    ObsoleteFold,
    LengthRepeated,
    LengthInvalid,
    LengthWithEncoding,
    EncodingRefused,
    HeadTooLarge,
    TooManyFields,
    HeadTooSlow,
    Chunk,
    HostMissing,
    HostRepeated,
    /// Of a listener that is for this machine only.
    HostElsewhere,
    /// The client's, on a connection that outlived it.
    CertificateTerm,
}

impl Fault {
    /// HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::HeadTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HostElsewhere => StatusCode::MISDIRECTED_REQUEST,
            Self::CertificateTerm => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The published name of the rule.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BareLf => "framing_bare_lf",
            Self::ControlByte => "framing_control_byte",
            Self::RequestLine => "framing_request_line",
            Self::Target => "framing_target",
            Self::Version => "framing_version",
            Self::FieldName => "framing_field_name",
            Self::ObsoleteFold => "framing_obsolete_fold",
            Self::LengthRepeated => "framing_length_repeated",
            Self::LengthInvalid => "framing_length_invalid",
            Self::LengthWithEncoding => "framing_length_with_encoding",
            Self::EncodingRefused => "framing_transfer_encoding",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "head_too_many_fields",
            Self::HeadTooSlow => "head_too_slow",
            Self::Chunk => "framing_chunk",
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::HostElsewhere => "host_not_this_machine",
            Self::CertificateTerm => "client_certificate_not_in_force",
        }
    }

    /// One sentence for the client.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::BareLf => "a line of the head ends without a carriage return: end each with CRLF",
            Self::ControlByte => "the head contains a control byte",
            Self::RequestLine => "the request line is not `method target version`",
            Self::Target => {
                "the request target has a byte that a target may not have, or a fragment"
            }
            Self::Version => "the version is neither HTTP/1.1 nor HTTP/1.0",
            Self::FieldName => "a header name is empty or has a byte that a name may not have",
            Self::ObsoleteFold => "a header value is folded over two lines: write it on one",
            Self::LengthRepeated => "`content-length` is there more than once",
            Self::LengthInvalid => "`content-length` is not a plain decimal number",
            Self::LengthWithEncoding => {
                "`content-length` and `transfer-encoding` are both there: send one"
            }
            Self::EncodingRefused => "`transfer-encoding` may only be `chunked`, once, on HTTP/1.1",
            Self::HeadTooLarge => "the head is larger than 32 KiB",
            Self::TooManyFields => "the head has more than 100 headers",
            Self::HeadTooSlow => "the head did not arrive in time",
            Self::Chunk => "the chunked body is malformed",
            Self::HostMissing => "`host` is missing: HTTP/1.1 wants it",
            Self::HostRepeated => "`host` is there more than once",
            Self::HostElsewhere => {
                "this is for programs of this machine: ask for `localhost` or a loopback address"
            }
            Self::CertificateTerm => {
                "the client certificate has expired, or is not in force yet: connect with one that is"
            }
        }
    }
}
