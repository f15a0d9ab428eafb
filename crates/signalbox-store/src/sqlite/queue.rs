//! The bounded queue in front of the writer.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::StoreError;

/// How often the writer lets others run before it takes a batch, as long as each time more has come to wait.
const TURNS_LEFT_MAX: u32 = 8;

/// How long a job that nobody is in a hurry about waits for others to be written along with it: each commit is a
/// flush, which whoever comes next would have to wait for.
const PATIENCE: Duration = Duration::from_millis(5);

/// Jobs that wait to be written.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    arrived: Condvar,
    jobs_max: usize,
}

/// What came of waiting for jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Jobs were taken.
    Jobs,
    /// Nothing came for as long as was given.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

struct State<J> {
    jobs: VecDeque<J>,
    /// Whether somebody waits for one of them.
    is_hurried: bool,
    is_closed: bool,
}

impl<J> Queue<J> {
    /// An empty queue that takes `jobs_max` jobs.
    pub(super) fn new(jobs_max: usize) -> Self {
        Self {
            state: Mutex::new(State { jobs: VecDeque::new(), is_hurried: false, is_closed: false }),
            arrived: Condvar::new(),
            jobs_max,
        }
    }

    /// Adds a job at the end.
    pub(super) fn push(&self, job: J) -> Result<(), StoreError> {
        self.push_as(job, true)
    }

    /// Adds a job at the end that may wait a little for others.
    pub(super) fn push_patient(&self, job: J) -> Result<(), StoreError> {
        self.push_as(job, false)
    }

    /// Adds a job at the end, however many wait.
    pub(super) fn push_over(&self, job: J) -> Result<(), StoreError> {
        self.push_up_to(usize::MAX, job, true)
    }

    fn push_as(&self, job: J, is_hurried: bool) -> Result<(), StoreError> {
        self.push_up_to(self.jobs_max, job, is_hurried)
    }

    fn push_up_to(&self, most: usize, job: J, is_hurried: bool) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if state.jobs.len() >= most {
            return Err(StoreError::Busy(state.jobs.len()));
        }
        state.jobs.push_back(job);
        let is_news = state.jobs.len() == 1 || (is_hurried && !state.is_hurried);
        state.is_hurried |= is_hurried;
        drop(state);
        if is_news {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves what waits, at most `max` jobs, into `into`; waits where there is nothing, no longer than `idle_max` where
    /// that is given.
    pub(super) fn take(&self, max: usize, into: &mut Vec<J>, idle_max: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.is_closed {
                return Taken::Closed;
            }
            match idle_max {
                None => self.arrived.wait(&mut state),
                Some(idle_max) => {
                    if self.arrived.wait_for(&mut state, idle_max).timed_out() && state.jobs.is_empty() {
                        return Taken::Idle;
                    }
                }
            }
        }
        while !state.is_hurried && !state.is_closed {
            if self.arrived.wait_for(&mut state, PATIENCE).timed_out() {
                break;
            }
        }
        // On a busy machine whoever is about to ask gets to it first, and the batch grows; on an idle one
        // nobody else wants the processor, and this costs next to nothing.
        for _ in 0..TURNS_LEFT_MAX {
            let waiting = state.jobs.len();
            if waiting >= max || state.is_closed {
                break;
            }
            MutexGuard::unlocked(&mut state, std::thread::yield_now);
            if state.jobs.len() == waiting {
                break;
            }
        }
        let count = state.jobs.len().min(max);
        into.extend(state.jobs.drain(..count));
        state.is_hurried &= !state.jobs.is_empty();
        Taken::Jobs
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&self) -> VecDeque<J> {
        let mut state = self.state.lock();
        state.is_hurried = false;
        std::mem::take(&mut state.jobs)
    }

    /// Takes no more jobs; those that wait are still given out.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.arrived.notify_all();
    }

    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().jobs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &Queue<u8>) -> Vec<u8> {
        let mut jobs = Vec::new();
        assert_eq!(queue.take(9, &mut jobs, None), Taken::Jobs);
        jobs
    }

    #[test]
    fn what_may_wait_goes_along_with_what_comes_next_or_after_a_while() {
        let queue = Queue::new(9);
        queue.push_patient(1).expect("room");
        queue.push(2).expect("room");
        assert_eq!(taken(&queue), [1, 2]);
        queue.push_patient(3).expect("room");
        assert_eq!(taken(&queue), [3], "although nothing else comes");
        queue.push_patient(4).expect("room");
        std::thread::scope(|scope| {
            scope.spawn(|| queue.push(5).expect("room"));
            let first = taken(&queue);
            let all = if first.len() == 2 { first } else { [first, taken(&queue)].concat() };
            assert_eq!(all, [4, 5]);
        });
    }

    #[test]
    fn a_closed_queue_waits_for_nothing() {
        let queue = Queue::new(9);
        queue.push_patient(1).expect("room");
        queue.close();
        assert_eq!(taken(&queue), [1]);
        assert_eq!(queue.take(9, &mut Vec::new(), None), Taken::Closed);
    }
}
