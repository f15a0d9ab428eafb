//! Every operation of the engine as one type, so that a world can hold, suspend and repeat any of them.

use signalbox_core::decision::Key;
use signalbox_core::engine::{
    Accept, Announce, AppendLogs, ApplyDefinition, ApplySchedule, Approve, Cancel, Connect, ControlSchedule,
    DeleteDefinition, DeleteSchedule, Deregister, Discard, Disconnect, DisconnectMany, Drain, ExpireDelivery,
    MatchAgent, MatchTask, Operation, PatchAgent, Pause, Redrive, Register, Registered, ReportState, Resume,
    RetrySession, SettleCall, SettleDelivery, SettleDispatch, Signal, TimerFired, Trigger, Triggered,
};
use signalbox_core::session::SessionState;
use signalbox_core::{Decision, DecisionContext, Halt, Snapshot};
use signalbox_wire::id::MessageId;

macro_rules! calls {
    ($($operation:ident => $answer:expr;)*) => {
        /// Something that happens.
        #[derive(Debug, Clone)]
        pub(crate) enum Call {
            $($operation($operation),)*
        }

        impl Operation for Call {
            type Output = ToolReply;

            fn keys(&self) -> Vec<Key> {
                match self {
                    $(Self::$operation(operation) => operation.keys(),)*
                }
            }

            fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ToolReply), Halt> {
                match self {
                    $(Self::$operation(operation) => {
                        let (decision, answer) = operation.decide(snapshot, context)?;
                        let tell = $answer;
                        Ok((decision, tell(answer)))
                    })*
                }
            }
        }

        impl Call {
            /// Its name.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$operation(_) => stringify!($operation),)*
                }
            }
        }

        $(impl From<$operation> for Call {
            fn from(operation: $operation) -> Self {
                Self::$operation(operation)
            }
        })*
    };
}

calls! {
    Accept => ToolReply::Message;
    Announce => |_| ToolReply::Announced;
    Approve => |session| ToolReply::Session(Box::new(session));
    AppendLogs => |_| ToolReply::Done;
    ApplyDefinition => |_| ToolReply::Done;
    ApplySchedule => |_| ToolReply::Done;
    Connect => |_| ToolReply::Connected;
    Disconnect => |_| ToolReply::Done;
    DisconnectMany => |_| ToolReply::Done;
    ExpireDelivery => |_| ToolReply::Done;
    Cancel => |session| ToolReply::Session(Box::new(session));
    DeleteDefinition => |_| ToolReply::Done;
    DeleteSchedule => |_| ToolReply::Done;
    Deregister => |_| ToolReply::Done;
    Discard => |_| ToolReply::Done;
    Drain => |_| ToolReply::Done;
    MatchAgent => ToolReply::Yes;
    PatchAgent => |_| ToolReply::Done;
    Pause => |session| ToolReply::Session(Box::new(session));
    MatchTask => ToolReply::Yes;
    Redrive => |_| ToolReply::Done;
    Register => ToolReply::Registered;
    ReportState => |_| ToolReply::Done;
    Resume => |session| ToolReply::Session(Box::new(session));
    RetrySession => |session| ToolReply::Session(Box::new(session));
    SettleCall => |_| ToolReply::Done;
    SettleDelivery => |_| ToolReply::Done;
    SettleDispatch => |_| ToolReply::Done;
    Signal => |session| ToolReply::Session(Box::new(session));
    ControlSchedule => |_| ToolReply::Done;
    TimerFired => |_| ToolReply::Done;
    Trigger => ToolReply::Triggered;
}

/// What whoever asked is told.
#[derive(Debug, Clone)]
pub(crate) enum ToolReply {
    Message(MessageId),
    Announced,
    Connected,
    Session(Box<SessionState>),
    Yes(bool),
    Registered(Registered),
    Triggered(Triggered),
    Done,
}
