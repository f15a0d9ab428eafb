//! The bounded queue in front of the writer.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::StoreError;

/// How often the writer lets others run before it takes a batch, as long as each time more has come to wait.
const TURNS_LEFT_MAX: u32 = 8;

/// Jobs that wait to be written.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    arrived: Condvar,
    jobs_max: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    is_closed: bool,
}

impl<J> Queue<J> {
    /// An empty queue that takes `jobs_max` jobs.
    pub(super) fn new(jobs_max: usize) -> Self {
        Self {
            state: Mutex::new(State { jobs: VecDeque::new(), is_closed: false }),
            arrived: Condvar::new(),
            jobs_max,
        }
    }

    /// Adds a job at the end.
    pub(super) fn push(&self, job: J) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if state.jobs.len() >= self.jobs_max {
            return Err(StoreError::Busy(state.jobs.len()));
        }
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Moves what waits, at most `max` jobs, into `into`; waits where there is nothing. Answers `false` once
    /// the queue is closed and empty.
    pub(super) fn take(&self, max: usize, into: &mut Vec<J>) -> bool {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.is_closed {
                return false;
            }
            self.arrived.wait(&mut state);
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
        true
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&self) -> VecDeque<J> {
        std::mem::take(&mut self.state.lock().jobs)
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
