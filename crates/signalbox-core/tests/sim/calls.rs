//! Every operation of the engine as one type, so that a world can hold, suspend and repeat any of them.

use signalbox_core::engine::{
    Accept, Announce, AppendLogs, ApplyDefinition, ApplySchedule, Approve, Cancel, DeleteDefinition,
    DeleteSchedule, Deregister, Discard, Drain, Offer, Operation, PatchAgent, Pause, Place, Redrive,
    Register, Registered, ReportState, Resume, RetrySession, SettleCall, SettleDelivery, Signal,
    SteerSchedule, TimerFired, Trigger, Triggered,
};
use signalbox_core::session::SessionState;
use signalbox_core::{Decision, Halt, Turn, View};
use signalbox_wire::id::MessageId;

macro_rules! calls {
    ($($operation:ident => $answer:expr;)*) => {
        /// Something that happens.
        #[derive(Debug, Clone)]
        pub(crate) enum Call {
            $($operation($operation),)*
        }

        impl Call {
            /// What the operation decides on `view`.
            pub(crate) fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, Answer), Halt> {
                match self {
                    $(Self::$operation(operation) => {
                        let (decision, answer) = operation.decide(view, turn)?;
                        let tell = $answer;
                        Ok((decision, tell(answer)))
                    })*
                }
            }

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
    Accept => Answer::Message;
    Announce => |_| Answer::Announced;
    Approve => |session| Answer::Session(Box::new(session));
    AppendLogs => |_| Answer::Done;
    ApplyDefinition => |_| Answer::Done;
    ApplySchedule => |_| Answer::Done;
    Cancel => |session| Answer::Session(Box::new(session));
    DeleteDefinition => |_| Answer::Done;
    DeleteSchedule => |_| Answer::Done;
    Deregister => |_| Answer::Done;
    Discard => |_| Answer::Done;
    Drain => |_| Answer::Done;
    Offer => Answer::Yes;
    PatchAgent => |_| Answer::Done;
    Pause => |session| Answer::Session(Box::new(session));
    Place => Answer::Yes;
    Redrive => |_| Answer::Done;
    Register => Answer::Registered;
    ReportState => |_| Answer::Done;
    Resume => |session| Answer::Session(Box::new(session));
    RetrySession => |session| Answer::Session(Box::new(session));
    SettleCall => |_| Answer::Done;
    SettleDelivery => |_| Answer::Done;
    Signal => |session| Answer::Session(Box::new(session));
    SteerSchedule => |_| Answer::Done;
    TimerFired => |_| Answer::Done;
    Trigger => Answer::Triggered;
}

/// What whoever asked is told.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Message(MessageId),
    Announced,
    Session(Box<SessionState>),
    Yes(bool),
    Registered(Registered),
    Triggered(Triggered),
    Done,
}
