//! The closed, published vocabulary of reasons: code, and one sentence in English and in Korean.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $code:literal $en:literal $ko:literal)*) => {
        /// Why a request was allowed, held or refused. Retired reasons stay reserved.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason { $($(#[$doc])* #[serde(rename = $code)] $name,)* }

        impl Reason {
            /// As in JSON: `NO_GROUND`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// One sentence in English.
            #[must_use]
            pub const fn en(self) -> &'static str {
                match self { $(Self::$name => $en,)* }
            }

            /// One sentence in Korean.
            #[must_use]
            pub const fn ko(self) -> &'static str {
                match self { $(Self::$name => $ko,)* }
            }

            /// All of them, in the order of publication.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

reasons! {
    // --- decided by rules
    AllowedByRule "ALLOWED_BY_RULE" "A rule allows it." "규칙에 따라 허용됩니다."
    DeniedByRule "DENIED_BY_RULE" "A rule refuses it." "규칙에 따라 거부됩니다."
    /// A person must review it.
    HeldByRule "HELD_BY_RULE" "A rule holds it for review." "규칙에 따라 검토를 위해 보류됩니다."
    /// It was held, and those who may have let it pass.
    Released "RELEASED" "It was held for review and then released." "검토를 위해 보류되었다가 승인되어 해제되었습니다."
    /// A transfer regime has no allow for the cell.
    NoGround "NO_GROUND" "Nothing on file permits it." "이를 허용하는 근거가 등록되어 있지 않습니다."
    OrderInForce "ORDER_IN_FORCE" "An order of an authority covers it." "감독기관의 명령이 적용됩니다."
    MissingFact "MISSING_FACT" "A fact that is needed is not known." "필요한 사실을 알 수 없습니다."
    /// Two sources of a fact do not agree.
    Contradiction "CONTRADICTION" "Two facts contradict each other." "두 사실이 서로 모순됩니다."
    // --- facts
    /// Not in the catalogue, or the caller has no right to it: the two are not told apart.
    UnknownDataset "UNKNOWN_DATASET" "The dataset is not known here." "등록되지 않은 데이터셋입니다."
    /// No dataset was declared and the (organisation, service) has no default profile.
    NoDataProfile "NO_DATA_PROFILE" "No dataset is declared and the service has no default profile." "데이터셋이 신고되지 않았고 서비스의 기본 프로필도 없습니다."
    NoSite "NO_SITE" "No registered site serves this." "이를 제공하는 등록된 사이트가 없습니다."
    PinRefused "PIN_REFUSED" "The site asked for is not known or not permitted." "지정한 사이트를 알 수 없거나 허용되지 않습니다."
    // --- access
    AccessDenied "ACCESS_DENIED" "The organisation's access policy does not permit this." "조직의 접근 정책이 허용하지 않습니다."
    UnknownOrganisation "UNKNOWN_ORGANISATION" "The organisation or service is not registered." "등록되지 않은 조직 또는 서비스입니다."
    // --- identity (401)
    Unauthenticated "UNAUTHENTICATED" "The caller is not authenticated." "호출자가 인증되지 않았습니다."
    // --- the request itself
    Framing "FRAMING" "The request is framed ambiguously." "요청의 경계가 모호합니다."
    HostInvalid "HOST_INVALID" "The Host header is missing or wrong." "Host 헤더가 없거나 잘못되었습니다."
    AuthorityMismatch "AUTHORITY_MISMATCH" "The request is for another authority." "다른 호스트에 대한 요청입니다."
    PathInvalid "PATH_INVALID" "The path is not in plain form." "경로의 형식이 올바르지 않습니다."
    HeaderInvalid "HEADER_INVALID" "A header is wrong or given twice." "헤더가 잘못되었거나 중복되었습니다."
    MethodRefused "METHOD_REFUSED" "The method is not served." "지원하지 않는 메서드입니다."
    RouteUnknown "ROUTE_UNKNOWN" "The route is not known." "알 수 없는 경로입니다."
    UpgradeRefused "UPGRADE_REFUSED" "Upgrades are not served." "프로토콜 업그레이드를 지원하지 않습니다."
    MediaTypeRefused "MEDIA_TYPE_REFUSED" "The media type is not served." "지원하지 않는 미디어 형식입니다."
    ContentEncodingRefused "CONTENT_ENCODING_REFUSED" "Encoded bodies are not served." "인코딩된 본문은 지원하지 않습니다."
    BodyTooLarge "BODY_TOO_LARGE" "The body is too large." "본문이 너무 큽니다."
    BodyTooSlow "BODY_TOO_SLOW" "The body comes too slowly." "본문 전송이 너무 느립니다."
    BodyAmbiguous "BODY_AMBIGUOUS" "The body can be read in two ways." "본문이 두 가지로 해석될 수 있습니다."
    BodyInvalid "BODY_INVALID" "The body cannot be read." "본문을 해석할 수 없습니다."
    DeclarationInvalid "DECLARATION_INVALID" "A declaration is malformed." "신고 내용의 형식이 올바르지 않습니다."
    DeclarationConflict "DECLARATION_CONFLICT" "Two declarations contradict each other." "신고 내용이 서로 모순됩니다."
    /// The protocol knows it, this gateway does not carry it (e.g. stored responses).
    OperationUnsupported "OPERATION_UNSUPPORTED" "The operation is not carried here." "지원하지 않는 작업입니다."
    // --- what an organisation manages itself
    /// Or it is another organisation's: the two are not told apart.
    NotFound "NOT_FOUND" "Nothing of this organisation has this id." "이 조직에 해당 식별자의 항목이 없습니다."
    NotOpen "NOT_OPEN" "It is closed already, or its time is over." "이미 종결되었거나 기한이 지났습니다."
    /// Who asked may not let it pass, and nobody has two votes.
    SamePerson "SAME_PERSON" "This person asked for it or has voted already." "요청한 본인이거나 이미 의견을 낸 사람입니다."
    // --- the gateway
    EngineDisagreement "ENGINE_DISAGREEMENT" "Two policy engines did not agree." "두 정책 엔진의 판단이 일치하지 않았습니다."
    /// The bundle that is in force cannot be judged with here: not loaded yet, or not sound, or not approved.
    PolicyUnavailable "POLICY_UNAVAILABLE" "The policy in force cannot be judged with here." "시행 중인 정책을 이 게이트웨이에서 적용할 수 없습니다."
    EngineError "ENGINE_ERROR" "The policy could not be evaluated." "정책을 평가할 수 없었습니다."
    AuditUnavailable "AUDIT_UNAVAILABLE" "The decision could not be recorded." "결정을 기록할 수 없었습니다."
    /// A rule wants a receipt that witnesses cosigned before anything moves.
    NotWitnessed "NOT_WITNESSED" "The witnesses that a rule demands did not confirm the record in time." "규칙이 요구하는 증인들이 제때 기록을 확인하지 않았습니다."
    Overloaded "OVERLOADED" "The gateway is overloaded." "게이트웨이가 과부하 상태입니다."
    Draining "DRAINING" "The gateway is shutting down." "게이트웨이가 종료 중입니다."
    // --- the site
    SiteUnavailable "SITE_UNAVAILABLE" "The site does not answer." "사이트가 응답하지 않습니다."
    SiteIdentityMismatch "SITE_IDENTITY_MISMATCH" "The site did not show its pinned identity." "사이트의 신원이 등록된 것과 다릅니다."
    SiteTimeout "SITE_TIMEOUT" "The site took too long." "사이트의 응답이 너무 늦습니다."
}
