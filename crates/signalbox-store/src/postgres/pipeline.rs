//! Several statements in one flight: all are sent, in order, before the first answer is awaited.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A statement under way.
pub(super) type Flight<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs all flights at once and answers what they gave, in their order. The driver sends a statement when its
/// future is first polled, so the order given is the order of arrival.
pub(super) async fn fly<T>(mut flights: Vec<Flight<'_, T>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = flights.iter().map(|_| None).collect();
    let mut are_sent = false;
    poll_fn(|context| {
        for (flight, answer) in flights.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            match flight.as_mut().poll(context) {
                Poll::Ready(value) => *answer = Some(value),
                // Answers come in order: behind one that is still awaited there is nothing to see.
                Poll::Pending if are_sent => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        are_sent = true;
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}
