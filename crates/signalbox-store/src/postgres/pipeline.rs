//! Several statements in one round trip: all are sent, in order, before the first answer is awaited.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A statement under way.
pub(super) type PendingQuery<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Runs all queries at once and answers what they gave, in their order, or the first error once all that was
/// sent is answered. The driver sends a statement when its future is first polled, so the order given is the
/// order of arrival; behind one that could not be sent nothing is sent, least of all a COMMIT.
pub(super) async fn enqueue<T, E>(mut flights: Vec<PendingQuery<'_, T, E>>) -> Result<Vec<T>, E> {
    let mut answers: Vec<Option<Result<T, E>>> = Vec::with_capacity(flights.len());
    let mut first_open = 0;
    poll_fn(|context| {
        while answers.len() < flights.len() {
            let answer = match flights[answers.len()].as_mut().poll(context) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            };
            if let Some(Err(_)) = &answer {
                flights.truncate(answers.len() + 1);
            }
            answers.push(answer);
        }
        // Answers come in order: behind one that is still awaited there is nothing to see.
        while let Some(answer) = answers.get_mut(first_open) {
            if answer.is_none() {
                match flights[first_open].as_mut().poll(context) {
                    Poll::Ready(value) => *answer = Some(value),
                    Poll::Pending => return Poll::Pending,
                }
            }
            first_open += 1;
        }
        Poll::Ready(())
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_sent_holds_back_everything_behind_it() {
        let sent = Mutex::new(Vec::new());
        let flight = |number: u32, is_sendable: bool| -> PendingQuery<'_, u32, u32> {
            let sent = &sent;
            Box::pin(async move {
                if !is_sendable {
                    return Err(number);
                }
                sent.lock().expect("unpoisoned").push(number);
                tokio::task::yield_now().await;
                Ok(number)
            })
        };
        assert_eq!(enqueue(vec![flight(1, true), flight(2, true), flight(3, true)]).await, Ok(vec![1, 2, 3]));
        sent.lock().expect("unpoisoned").clear();
        assert_eq!(enqueue(vec![flight(1, true), flight(2, false), flight(3, true)]).await, Err(2));
        assert_eq!(*sent.lock().expect("unpoisoned"), [1]);
    }
}
