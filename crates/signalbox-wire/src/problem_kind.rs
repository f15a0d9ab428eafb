//! Every kind of problem that the server gives: [`ProblemKind`], the one table of their names and statuses.
//!
//! The name is what clients match on (`/problems/<name>`), so it never changes once it is given. A client may talk to
//! a newer server, or to a proxy: what it reads is a [`ProblemType`], in which a kind that is not in the table stays
//! text.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the `type` of a problem begins with.
const BASE: &str = "/problems/";

/// Defines [`ProblemKind`] from its table: what it is for, its variant, its status and its name.
macro_rules! problem_kinds {
    ($(#[doc = $meaning:literal] $kind:ident = $status:literal $name:literal;)+) => {
        /// A kind of problem, with its status and name: when it is given, and what the caller does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemKind {
            $(
                #[doc = concat!(stringify!($status), " `", $name, "`:", $meaning)]
                $kind,
            )+
        }

        impl ProblemKind {
            /// All kinds, by status.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The kind's name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// The HTTP status of every problem of the kind.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$kind => $status,)+
                }
            }

            /// When it is given, and what the caller does.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$kind => $meaning,)+
                }
                .trim_start()
            }

            /// The kind of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$kind),)+
                    _ => None,
                }
            }
        }
    };
}

problem_kinds! {
    /// The path names another agent than the body; send the same in both.
    AgentMismatch = 400 "agent-mismatch";
    /// The path is not UTF-8; percent-encode it as such.
    BadPath = 400 "bad-path";
    /// The body ended early; send it whole.
    BodyCut = 400 "body-cut";
    /// Dead letters were to be dropped without a filter; name which.
    NoFilter = 400 "no-filter";
    /// The call of a tool names none; name it.
    NoTool = 400 "no-tool";
    /// The body is not JSON; mend it.
    NotJson = 400 "not-json";
    /// The body is not YAML; mend it.
    NotYaml = 400 "not-yaml";
    /// The request came in plain HTTP to a port that speaks TLS; use https:// or wss://.
    PlainHttp = 400 "plain-http";
    /// A signed notification has an event that is not known; send one that the detail names.
    UnknownEvent = 400 "unknown-event";
    /// The agent has no contact endpoint and has never connected; register it with an endpoint, or connect it once.
    UnreachableAgent = 400 "unreachable-agent";
    /// No credentials came, or bad or used ones; send a key, or sign the call anew.
    Unauthorized = 401 "unauthorized";
    /// Good credentials that do not allow this, or an address that may not be called; use another key or endpoint.
    Forbidden = 403 "forbidden";
    /// The tenant has been removed; make it anew with the platform key.
    TenantRemoved = 404 "tenant-removed";
    /// No such agent; look its id up, or register it.
    UnknownAgent = 404 "unknown-agent";
    /// No such command, or it was over and removed; list those of the agent.
    UnknownCommand = 404 "unknown-command";
    /// No such channel; list those that there are, or make it.
    UnknownChannel = 404 "unknown-channel";
    /// No such dead letter; list those that there are, or ask where the message is.
    UnknownDeadLetter = 404 "unknown-dead-letter";
    /// No such hook; list those that there are.
    UnknownHook = 404 "unknown-hook";
    /// No such key; list those that there are.
    UnknownKey = 404 "unknown-key";
    /// No such message, or it was delivered a while ago; list the dead letters for what was given up.
    UnknownMessage = 404 "unknown-message";
    /// No session refers to such a payload; ask the session what it refers to.
    UnknownPayload = 404 "unknown-payload";
    /// The workflow has no such revision, or no longer; list those that are kept.
    UnknownRevision = 404 "unknown-revision";
    /// There is nothing at the path; look into `/openapi.json`.
    UnknownRoute = 404 "unknown-route";
    /// No such schedule; list those that there are.
    UnknownSchedule = 404 "unknown-schedule";
    /// No such session, or it is over and was removed; list those that there are.
    UnknownSession = 404 "unknown-session";
    /// No such SSH key; list those that there are.
    UnknownSshKey = 404 "unknown-ssh-key";
    /// No such tenant; list those that there are.
    UnknownTenant = 404 "unknown-tenant";
    /// No such tool; list those that there are, or register it.
    UnknownTool = 404 "unknown-tool";
    /// No such workflow; list those that there are, or keep it first.
    UnknownWorkflow = 404 "unknown-workflow";
    /// The path is not for this method; look into `/openapi.json`.
    MethodNotAllowed = 405 "method-not-allowed";
    /// The body did not arrive in time; send it faster.
    BodyTimeout = 408 "body-timeout";
    /// The agent takes no messages while it is busy; send it again later.
    AgentBusy = 409 "agent-busy";
    /// What was approved is not what would be done; look at it again, and approve its present digest.
    ApprovalChanged = 409 "approval-changed";
    /// More fire times are asked for than may wait; wait until some have started.
    BackfillFull = 409 "backfill-full";
    /// The tool is built in; it cannot be removed.
    BuiltInTool = 409 "built-in-tool";
    /// The command is answered or over already; look at what came of it.
    CommandOver = 409 "command-over";
    /// Another connection of the agent, or another poll of it, took over; let one program at a time be the agent.
    ConnectionTakenOver = 409 "connection-taken-over";
    /// A channel of this name exists; use it, or choose another name.
    ChannelTaken = 409 "channel-taken";
    /// The revision is the current one; make another current first, or delete the workflow.
    CurrentRevision = 409 "current-revision";
    /// The dead letter carried an attempt of a task; do with its session what the detail says.
    DeadLetterOfTask = 409 "dead-letter-of-task";
    /// The default tenant cannot be removed; leave it.
    DefaultTenant = 409 "default-tenant";
    /// A hook of this id exists; rotate it, or delete it first.
    HookTaken = 409 "hook-taken";
    /// The id is another agent's; take it over under its name, or choose another id.
    IdTaken = 409 "id-taken";
    /// The first request under this `Idempotency-Key` is still being answered; repeat it after `Retry-After`.
    IdempotencyInProgress = 409 "idempotency-in-progress";
    /// The `Idempotency-Key` has made as many tenants as one may; choose a new one.
    IdempotencyKeyWorn = 409 "idempotency-key-worn";
    /// The key has expired; rotate it with a later expiry, or make another.
    KeyExpired = 409 "key-expired";
    /// The key was made, and shown in the first answer only; if that is lost, make another.
    KeyShownBefore = 409 "key-shown-before";
    /// The message id came with another body before; use a new id, or send the first body again.
    MessageIdReused = 409 "message-id-reused";
    /// The message id went to another agent; use a new id.
    MessageIdTaken = 409 "message-id-taken";
    /// The name is another agent's; choose another, or take it over with `replace=true`.
    NameTaken = 409 "name-taken";
    /// The session is too large to be shown whole; ask for it without `whole`, and for its payloads one by one.
    NotWhole = 409 "not-whole";
    /// The session has no such task that waits for an approval; look at the session.
    NothingToApprove = 409 "nothing-to-approve";
    /// No task of the session waits for the signal, or will; look into its workflow.
    NothingWaits = 409 "nothing-waits";
    /// The revision has open sessions; cancel them, or wait until they end.
    RevisionInUse = 409 "revision-in-use";
    /// The secret was made, and shown in the first answer only; if that is lost, rotate the hook.
    SecretShownBefore = 409 "secret-shown-before";
    /// What the session did has been undone, or will be; run it again as a new one.
    SessionUndone = 409 "session-undone";
    /// The session is as deep below others as one may be; mend the workflow that runs itself.
    TooDeep = 409 "too-deep";
    /// The SSH key is here already; use it, delete it first, or make a new pair.
    SshKeyTaken = 409 "ssh-key-taken";
    /// A tool of this name exists; delete it first, or choose another name.
    ToolTaken = 409 "tool-taken";
    /// As many sessions with the workflow's concurrency key run as may; wait until one ends.
    WorkflowBusy = 409 "workflow-busy";
    /// The workflow has open sessions, or is started by schedules or hooks; end or delete those first.
    WorkflowInUse = 409 "workflow-in-use";
    /// The session's status does not allow it; the detail says which do.
    WrongStatus = 409 "wrong-status";
    /// The body is over the limit; send less.
    TooLarge = 413 "too-large";
    /// The body is of a type that is not taken here; send it as the detail says.
    UnsupportedMediaType = 415 "unsupported-media-type";
    /// More fire times are asked for than one request may fill in; ask in several parts.
    BackfillTooLong = 422 "backfill-too-long";
    /// The query cannot be read; mend it.
    BadQuery = 422 "bad-query";
    /// When the schedule's time comes cannot be said; change the schedule.
    BadRhythm = 422 "bad-rhythm";
    /// The `Idempotency-Key` came with another body before; use a new key.
    IdempotencyKeyReused = 422 "idempotency-key-reused";
    /// The request does not fit its schema; mend every fault that `errors` lists.
    Invalid = 422 "invalid";
    /// The workflow's concurrency key has no value for this input; mend the input, or the workflow.
    NoConcurrencyKey = 422 "no-concurrency-key";
    /// The request opens no WebSocket; connect with a WebSocket client, or poll the agent's inbox.
    UpgradeRequired = 426 "upgrade-required";
    /// The connection has as many subscriptions, or requests under way, as it may; end some first.
    ConnectionFull = 429 "connection-full";
    /// The tenant's connections have as many different patterns on this server as they may; subscribe to subjects.
    PatternsFull = 429 "patterns-full";
    /// The session keeps as many early signals as it may; repeat it once a task waits for one.
    SignalsFull = 429 "signals-full";
    /// As many commands of the agent are open as may be (`open_commands_max`); repeat it once some are answered.
    TooManyCommands = 429 "too-many-commands";
    /// The tenant has as much as one of its limits allows; the detail names the limit, remove something or have it raised.
    LimitReached = 429 "limit-reached";
    /// The tenant sends more requests in a second than it may; repeat it after `Retry-After`.
    TooManyRequests = 429 "too-many-requests";
    /// Too many messages wait for the agent's address; repeat it when the agent has caught up.
    TooManyWaiting = 429 "too-many-waiting";
    /// Too many tries to sign in came for this agent, or from this address; repeat it after `Retry-After`.
    TooManyTries = 429 "too-many-tries";
    /// As many sessions with the workflow's concurrency key wait as may; repeat it later.
    WorkflowQueueFull = 429 "workflow-queue-full";
    /// The server failed; give its operator the answer's `x-request-id`.
    Internal = 500 "internal";
    /// The tool's answer could not be read; mend its endpoint.
    ToolAnsweredBadly = 502 "tool-answered-badly";
    /// The tool answered with an error status; mend its endpoint.
    ToolFailed = 502 "tool-failed";
    /// Bodies that are being received take all the room; nothing was changed, repeat it later.
    BodiesFull = 503 "bodies-full";
    /// The servers cannot reach each other; nothing of the request is kept, repeat it later.
    BusUnavailable = 503 "bus-unavailable";
    /// Too many requests change the same thing at once; repeat it in a moment.
    Contended = 503 "contended";
    /// As many agents are connected as may be; connect again in a moment, or to another node.
    ConnectionsFull = 503 "connections-full";
    /// Nobody is there who could answer the request; repeat it when somebody is.
    NoResponders = 503 "no-responders";
    /// The server cannot take work now; the detail says why, ask again later.
    NotReady = 503 "not-ready";
    /// What is being sent takes all the room; the tool was not called, repeat it later.
    OutboundFull = 503 "outbound-full";
    /// Too much is waiting to be written; nothing was changed, repeat it later.
    StoreBusy = 503 "store-busy";
    /// The store cannot answer, and may have taken the change; repeat it, a POST under the same `Idempotency-Key`.
    StoreUnavailable = 503 "store-unavailable";
    /// The tool could not be reached; repeat it later.
    ToolUnreachable = 503 "tool-unreachable";
    /// The agent did not answer the command in time; it may have done it.
    CommandTimeout = 504 "command-timeout";
    /// Nobody answered the request in time; whoever got it may have done its work.
    ReplyTimeout = 504 "reply-timeout";
    /// The tool did not answer in time; it may have done its work.
    ToolTimeout = 504 "tool-timeout";
}

impl ProblemKind {
    /// The name in words; the same for every problem of the kind.
    #[must_use]
    pub fn title(self) -> String {
        let mut title = self.name().replace('-', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        title
            .replace(" json", " JSON")
            .replace(" yaml", " YAML")
            .replace("Ssh ", "SSH ")
            .replace(" ssh ", " SSH ")
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The `type` of a problem as it is written: `/problems/<name>` of a kind, or what someone else wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemType {
    /// A kind of the table.
    Known(ProblemKind),
    /// The name of a kind that is not in the table, or another type as it was read.
    Other(String),
}

impl ProblemType {
    /// The kind, where it is one of the table.
    #[must_use]
    pub fn known(&self) -> Option<ProblemKind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Other(_) => None,
        }
    }

    /// The kind's name, or the text that was read.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Other(name) => name,
        }
    }
}

/// Of a problem that names no type.
impl Default for ProblemType {
    fn default() -> Self {
        Self::Other("unnamed".to_owned())
    }
}

impl From<ProblemKind> for ProblemType {
    fn from(kind: ProblemKind) -> Self {
        Self::Known(kind)
    }
}

impl PartialEq<ProblemKind> for ProblemType {
    fn eq(&self, kind: &ProblemKind) -> bool {
        self.known() == Some(*kind)
    }
}

impl fmt::Display for ProblemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for ProblemType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{BASE}{self}"))
    }
}

impl<'de> Deserialize<'de> for ProblemType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?;
        let name = path.strip_prefix(BASE).unwrap_or(&path);
        Ok(ProblemKind::named(name).map_or_else(|| Self::Other(name.to_owned()), Self::Known))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_read_back() {
        let mut seen = HashSet::new();
        for kind in ProblemKind::ALL {
            let name = kind.name();
            assert!(seen.insert(name), "{name} is there twice");
            let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
            assert!(name.split('-').all(is_part), "{name}");
            assert_eq!(ProblemKind::named(name), Some(*kind));
            let written = serde_json::to_value(ProblemType::from(*kind)).unwrap();
            assert_eq!(written, json!(format!("/problems/{name}")));
            assert_eq!(serde_json::from_value::<ProblemType>(written).unwrap(), *kind);
        }
    }

    /// The variant is the name in another spelling, so that whoever knows one finds the other.
    #[test]
    fn variants_are_spelt_as_their_names_are() {
        for kind in ProblemKind::ALL {
            assert_eq!(format!("{kind:?}").to_lowercase(), kind.name().replace('-', ""));
        }
    }

    #[test]
    fn every_kind_has_a_status_of_an_error_a_title_and_a_meaning() {
        for kind in ProblemKind::ALL {
            assert!((400..600).contains(&kind.status()), "{kind}");
            assert!(kind.title().starts_with(|first: char| first.is_ascii_uppercase()), "{kind}");
            assert!(kind.meaning().ends_with('.') && kind.meaning().contains("; "), "{kind}");
        }
        assert!(ProblemKind::ALL.is_sorted_by_key(|kind| kind.status()));
        let titles = [ProblemKind::NotJson, ProblemKind::NotYaml, ProblemKind::DeadLetterOfTask];
        assert_eq!(titles.map(ProblemKind::title), ["Not JSON", "Not YAML", "Dead letter of task"]);
    }

    #[test]
    fn a_kind_that_is_not_known_stays_text() {
        for (written, name) in
            [("/problems/of-tomorrow", "of-tomorrow"), ("https://example.org/p", "https://example.org/p")]
        {
            let read: ProblemType = serde_json::from_value(json!(written)).unwrap();
            assert_eq!(read, ProblemType::Other(name.to_owned()));
            assert_eq!((read.known(), read.name()), (None, name));
        }
    }
}
