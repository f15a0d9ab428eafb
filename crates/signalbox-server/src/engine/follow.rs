//! Work that goes on when whoever waits for it is gone.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs `work` where it is awaited; dropped before its end, it goes on as a task of its own. A task for each piece of
/// work would cost a second wake-up and a way between threads, for something that nearly never happens.
pub(super) fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send {
    ToTheEnd { work: Some(Box::pin(work)) }
}

struct ToTheEnd<T: Send + 'static> {
    /// What is left to do.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out meanwhile: a piece of work that panics is over.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_awaited_answers() {
        assert_eq!(to_the_end(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn what_is_no_longer_awaited_goes_on() {
        let ((begin, begun), (end, ended)) = (oneshot::channel::<()>(), oneshot::channel());
        let work = to_the_end(async move {
            begun.await.expect("begun");
            end.send(7).expect("somebody waits");
        });
        assert!(tokio::time::timeout(Duration::ZERO, work).await.is_err(), "it is dropped under way");
        begin.send(()).expect("it still waits");
        assert_eq!(ended.await, Ok(7));
    }

    #[tokio::test]
    async fn what_was_never_begun_is_done_too() {
        let (end, ended) = oneshot::channel();
        drop(to_the_end(async move { end.send(7).expect("somebody waits") }));
        assert_eq!(ended.await, Ok(7));
    }
}
