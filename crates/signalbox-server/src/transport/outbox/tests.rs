//! Tests of the outbox.

use std::collections::HashMap;
use std::future::poll_fn;

use proptest::prelude::*;

use super::super::burst::BurstWriter;
use super::*;

const BOUNDS: OutboxBounds = OutboxBounds { frames: 4, bytes: 64, unacknowledged: 3 };

fn outbox(bounds: OutboxBounds) -> (Outbox, OutboxReader) {
    Outbox::new(ConnectionId::parse("con_1").expect("valid"), bounds, Gauge::default())
}

fn frame(text: &str) -> Frame {
    Frame::new(text.to_owned())
}

fn next(reader: &mut OutboxReader) -> Option<Next> {
    let mut cx = Context::from_waker(Waker::noop());
    match reader.poll_next(&mut cx) {
        Poll::Ready(next) => Some(next),
        Poll::Pending => None,
    }
}

fn now(receipt: &mut Receipt) -> Option<Received> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(receipt).poll(&mut cx) {
        Poll::Ready(received) => Some(received),
        Poll::Pending => None,
    }
}

#[test]
fn a_sequence_is_put_at_the_end_of_an_envelope() {
    let framed = Frame::with_sequence(r#"{"type":"command"}"#, 7);
    assert_eq!(framed.text, r#"{"type":"command","sequence":7}"#);
}

fn answer(reader: &mut OutboxReader) -> Option<(Vec<Bytes>, u64)> {
    let mut cx = Context::from_waker(Waker::noop());
    match reader.poll_all(&mut cx) {
        Poll::Ready(answer) => Some(answer.expect("it goes on")),
        Poll::Pending => None,
    }
}

#[test]
fn what_an_answer_carried_comes_again_until_it_was_had() {
    let (outbox, mut reader) = outbox(BOUNDS);
    outbox.begin_after(100);
    outbox.push(frame("live")).expect("there is room");
    let _receipt = outbox.deliver("d", |sequence| frame(&format!("d{sequence}")));
    let (texts, first) = answer(&mut reader).expect("something");
    assert_eq!((texts, first), (vec!["live".into(), "d101".into()], 102));
    outbox.push(frame("next")).expect("there is room");
    let (texts, second) = answer(&mut reader).expect("something");
    assert_eq!((&texts[..], second), (&["d101".into(), "live".into(), "next".into()][..], 103));
    outbox.had_up_to(first);
    assert_eq!(answer(&mut reader).expect("something"), (vec!["next".into()], second));
    outbox.had_up_to(second);
    assert!(answer(&mut reader).is_none());
    assert!(!outbox.has_lost_after(0));
    // Of more than may wait the oldest goes, and that is said once.
    for number in 0..6 {
        outbox.push(frame(&format!("l{number}"))).expect("there is room");
        answer(&mut reader).expect("something");
    }
    let (texts, last) = answer(&mut reader).expect("something");
    assert_eq!(texts, ["l2", "l3", "l4", "l5"].map(Bytes::from));
    assert_eq!(last, second + 6);
    assert!(outbox.has_lost_after(second) && !outbox.has_lost_after(second));
    outbox.had_up_to(last);
    assert_eq!(outbox.0.buffered.get(), 0);
}

#[test]
fn frames_that_come_together_count_one_by_one() {
    let (outbox, mut reader) = outbox(BOUNDS);
    let burst = |texts: &[&str]| {
        let mut writer = BurstWriter::default();
        texts.iter().for_each(|text| writer.put(text.as_bytes()));
        writer.take().expect("some")
    };
    assert_eq!(outbox.burst_max(), (1, 8));
    outbox.push(frame("a")).expect("there is room");
    outbox.push_burst(burst(&["b", "c", "d"])).expect("there is room");
    assert_eq!(outbox.0.buffered.get(), 4);
    assert!(!outbox.is_half_empty());
    assert_eq!(next(&mut reader), Some(Next::Frame("a".into(), None)));
    assert_eq!(next(&mut reader), Some(Next::Burst(burst(&["b", "c", "d"]))));
    assert_eq!((next(&mut reader), outbox.0.buffered.get(), outbox.is_half_empty()), (None, 0, true));
    // A poll gets each of them, and again until it had them.
    outbox.push_own_burst(burst(&["e", "f"])).expect("there is room");
    let (texts, sequence) = answer(&mut reader).expect("something");
    assert_eq!(texts, ["e", "f"].map(Bytes::from));
    assert_eq!(answer(&mut reader).expect("something").0, texts);
    outbox.had_up_to(sequence);
    assert!(answer(&mut reader).is_none());
    for _ in 0..2 {
        outbox.push_burst(burst(&["g", "h"])).expect("there is room");
    }
    assert_eq!(outbox.push_burst(burst(&["i"])), Err(Full));
    assert_eq!(next(&mut reader), Some(Next::End(CloseReason::TooSlow)));
    assert_eq!(outbox.0.buffered.get(), 0);
}

#[test]
fn reasons_fit_into_a_close_frame() {
    let long = [CloseReason::SshKeyEnded, CloseReason::ApiKeyEnded, CloseReason::TenantRemoved];
    for reason in
        [CloseReason::TooSlow, CloseReason::Silent, CloseReason::Unauthorized].into_iter().chain(long)
    {
        assert!(reason.text().len() <= 123);
    }
}

#[tokio::test]
async fn a_slow_reader_is_told_and_what_waited_is_forgotten() {
    let (outbox, mut reader) = outbox(BOUNDS);
    for _ in 0..4 {
        outbox.push(frame("{}")).expect("there is room");
    }
    assert_eq!(outbox.push(frame("{}")), Err(Full));
    assert_eq!(outbox.push(frame("{}")), Err(Full));
    assert_eq!(poll_fn(|cx| reader.poll_next(cx)).await, Next::End(CloseReason::TooSlow));
    assert_eq!((outbox.0.state.lock().waiting_bytes, outbox.0.buffered.get()), (0, 0));
}

#[tokio::test]
async fn whoever_waits_for_room_is_told_of_it_and_of_the_end() {
    let (outbox, mut reader) = outbox(BOUNDS);
    assert!(outbox.room().await);
    for _ in 0..3 {
        outbox.push(frame("{}")).expect("there is room");
    }
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.room().await }
    });
    for _ in 0..2 {
        poll_fn(|cx| reader.poll_next(cx)).await;
    }
    assert!(waiting.await.expect("told"));
    outbox.push(frame("{}")).expect("there is room");
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.room().await }
    });
    outbox.close(CloseReason::TakenOver);
    assert!(!waiting.await.expect("told"));
}

#[test]
fn what_waits_still_goes_out_when_the_server_drains() {
    let (outbox, mut reader) = outbox(BOUNDS);
    outbox.push(frame("{}")).expect("there is room");
    outbox.close(CloseReason::Draining);
    assert_eq!(next(&mut reader), Some(Next::Frame(Bytes::from("{}"), None)));
    assert_eq!(next(&mut reader), Some(Next::End(CloseReason::Draining)));
}

#[test]
fn one_that_is_on_its_way_is_not_sent_again() {
    let (outbox, mut reader) = outbox(BOUNDS);
    let mut first = outbox.deliver("a", |_| frame("{}"));
    let mut second = outbox.deliver("a", |_| frame("{}"));
    assert_eq!(next(&mut reader), Some(Next::Frame(Bytes::from("{}"), Some(1))));
    assert_eq!(next(&mut reader), None);
    assert!(outbox.had("a") && !outbox.had("a"));
    assert_eq!((now(&mut first), now(&mut second)), (Some(Received::Had), Some(Received::Had)));
}

#[test]
fn one_that_was_had_while_nobody_waited_is_not_sent_again() {
    let (old, mut reader) = outbox(BOUNDS);
    for id in ["a", "b", "c"] {
        drop(old.deliver(id, |_| frame("{}")));
        assert!(next(&mut reader).is_some());
    }
    old.had_up_to(1);
    assert!(old.had("b"));
    let again = |outbox: &Outbox, id: &str| now(&mut outbox.deliver(id, |_| frame("{}")));
    assert_eq!(["a", "b"].map(|id| again(&old, id)), [Some(Received::Had); 2]);
    assert_eq!(next(&mut reader), None);
    let (new, mut reader) = outbox(BOUNDS);
    new.take_over(old.leave(), 3);
    assert_eq!(
        ["a", "b", "c"].map(|id| again(&new, id)),
        [Some(Received::Had); 3],
        "nor by the next connection"
    );
    assert_eq!((next(&mut reader), again(&new, "d")), (None, None));
    for number in 0..HAD_KEPT {
        assert!(next(&mut reader).is_some() && again(&new, &number.to_string()).is_none());
        assert!(new.had(&number.to_string()));
    }
    assert_eq!((again(&new, "1"), again(&new, "a")), (Some(Received::Had), None), "as far as is remembered");
}

#[test]
fn what_is_not_known_to_be_had_is_bounded() {
    let (outbox, mut reader) = outbox(BOUNDS);
    let receipts: Vec<Receipt> =
        ["a", "b", "c"].map(|id| outbox.deliver(id, |_| frame("{}"))).into_iter().collect();
    while next(&mut reader).is_some() {}
    assert_eq!(now(&mut outbox.deliver("d", |_| frame("{}"))), Some(Received::Busy));
    drop(receipts);
    outbox.had_up_to(2);
    assert_eq!(now(&mut outbox.deliver("d", |_| frame("{}"))), None, "there is room again");
}

#[test]
fn what_a_connection_left_goes_to_the_next_without_what_was_had() {
    let wide = OutboxBounds { bytes: 1 << 10, ..BOUNDS };
    let (old, mut reader) = outbox(wide);
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|id| {
        old.deliver(id, |sequence| Frame::with_sequence(&format!("{{\"id\":\"{id}\"}}"), sequence))
    });
    assert!(matches!(next(&mut reader), Some(Next::Frame(_, Some(1)))));
    let (new, mut reader) = outbox(wide);
    new.take_over(old.leave(), 1);
    assert_eq!(now(&mut a), Some(Received::Had));
    assert_eq!(next(&mut reader), Some(Next::Frame(Bytes::from(r#"{"id":"b","sequence":2}"#), Some(2))));
    assert_eq!(now(&mut b), None);
    new.had_up_to(2);
    assert_eq!(now(&mut b), Some(Received::Had));
    assert_eq!(new.sequence(), 3, "the count goes on");
    drop((old, reader));
    assert_eq!(now(&mut c), Some(Received::Lost), "nobody took it over");
}

#[test]
fn what_came_over_an_earlier_connection_is_acknowledged_over_the_one_that_goes_on_with_it() {
    let wide = OutboxBounds { bytes: 1 << 10, ..BOUNDS };
    let (old, _reader) = outbox(wide);
    let _receipts = ["cmd_1", "cmd_2", "cmd_3"].map(|id| old.deliver(id, |_| frame("{}")));
    // A pong.
    old.had_up_to(1);
    let (new, _reader) = outbox(wide);
    new.take_over(old.leave(), 2);
    let said: Vec<String> = new.acknowledge_up_to(2).iter().map(ToString::to_string).collect();
    assert_eq!(said, ["cmd_1", "cmd_2"]);
    let (another, _reader) = outbox(wide);
    let mut leftover = new.leave();
    leftover.goes_to_another();
    another.take_over(leftover, 0);
    assert!(another.acknowledge_up_to(2).is_empty(), "another process says nothing of them");
}

#[test]
fn a_poll_gets_again_what_is_not_acknowledged() {
    let (outbox, mut reader) = outbox(BOUNDS);
    let _a = outbox.deliver("a", |_| frame("a"));
    outbox.push(frame("live")).expect("there is room");
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = |reader: &mut OutboxReader| match reader.poll_all(&mut cx) {
        Poll::Ready(Ok((frames, _))) => frames,
        Poll::Ready(Err(_)) | Poll::Pending => Vec::new(),
    };
    assert_eq!(all(&mut reader), ["a", "live"]);
    let _b = outbox.deliver("b", |_| frame("b"));
    assert_eq!(all(&mut reader), ["a", "live", "b"], "live frames too");
    outbox.had_up_to(1);
    assert_eq!(all(&mut reader), ["live", "b"]);
    outbox.had_up_to(2);
    assert_eq!(all(&mut reader), ["b"], "the answer with the live frame was the second");
    outbox.had_up_to(3);
    assert!(all(&mut reader).is_empty());
}

/// Something that happens to an outbox.
#[derive(Debug, Clone)]
enum Step {
    Push,
    Deliver,
    Read,
    HadUpTo(u64),
    Had(usize),
    Reconnect(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Push),
        4 => Just(Step::Deliver),
        4 => Just(Step::Read),
        1 => (0..20_u64).prop_map(Step::HadUpTo),
        1 => (0..20_usize).prop_map(Step::Had),
        1 => (0..20_u64).prop_map(Step::Reconnect),
    ]
}

proptest! {
    /// Nothing is lost or reordered: within a connection frames come in the order in which they were added; a durable
    /// one comes again on each connection until it is had, and each receipt resolves once that is so, and not before.
    #[test]
    fn nothing_is_lost_and_receipts_resolve(steps in prop::collection::vec(step(), 0..60)) {
        let wide = OutboxBounds { frames: 1_000, bytes: 1 << 20, unacknowledged: 1_000 };
        let (mut sender, mut reader) = outbox(wide);
        let mut receipts: Vec<(u64, Receipt)> = Vec::new();
        let mut had: HashMap<u64, ()> = HashMap::new();
        let mut expected: VecDeque<(String, Option<u64>)> = VecDeque::new();
        let mut live = 0;
        for step in steps {
            match step {
                Step::Push => {
                    live += 1;
                    let text = format!("live {live}");
                    sender.push(frame(&text)).expect("there is room");
                    expected.push_back((text, None));
                }
                Step::Deliver => {
                    let sequence = receipts.len() as u64 + 1;
                    let id = format!("d{sequence}");
                    let receipt = sender.deliver(&id, |given| {
                        assert_eq!(given, sequence);
                        frame(&id)
                    });
                    receipts.push((sequence, receipt));
                    expected.push_back((id.clone(), Some(sequence)));
                }
                Step::Read => {
                    let read = next(&mut reader);
                    let wanted = expected.pop_front();
                    let wanted = wanted.map(|(text, sequence)| Next::Frame(Bytes::from(text), sequence));
                    prop_assert_eq!(read, wanted);
                }
                Step::HadUpTo(sequence) => {
                    sender.had_up_to(sequence);
                    (1..=sequence.min(receipts.len() as u64)).for_each(|one| { had.insert(one, ()); });
                }
                Step::Had(at) => {
                    if at >= 1 && at <= receipts.len() {
                        let was_had = had.insert(at as u64, ()).is_some();
                        prop_assert_eq!(sender.had(&format!("d{at}")), !was_had);
                    }
                }
                Step::Reconnect(after) => {
                    let leftover = sender.leave();
                    (1..=after.min(receipts.len() as u64)).for_each(|one| { had.insert(one, ()); });
                    (sender, reader) = outbox(wide);
                    sender.take_over(leftover, after);
                    expected = (1..=receipts.len() as u64)
                        .filter(|one| !had.contains_key(one))
                        .map(|one| (format!("d{one}"), Some(one)))
                        .collect();
                }
            }
            for (sequence, receipt) in &mut receipts {
                if let Waiting::For(_) = receipt.0 {
                    let known = now(receipt);
                    prop_assert_eq!(known, had.contains_key(sequence).then_some(Received::Had));
                    if let Some(known) = known {
                        receipt.0 = Waiting::Known(known);
                    }
                }
            }
        }
        drop((sender, reader));
        for (sequence, mut receipt) in receipts {
            let end = if had.contains_key(&sequence) { Received::Had } else { Received::Lost };
            prop_assert_eq!(now(&mut receipt), Some(end));
        }
    }
}
