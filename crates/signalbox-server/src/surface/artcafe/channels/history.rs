//! A page of a channel's history.

use signalbox_core::channel::{Channel, ChannelMessage};
use signalbox_store::Store;
use signalbox_wire::artcafe::{ChannelMessageList, ChannelMessageView};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::paging::Cursor;

use crate::clock;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::artcafe::pages;

/// What the list is called in its cursors.
const LIST: &str = "channel-messages";
/// Bytes of the messages of one page, about.
const PAGE_BYTES: usize = 4 << 20;

/// Which page: after which sequence, and how many messages.
pub(super) struct HistoryPage {
    after: u64,
    limit: usize,
}

/// Reads which page is asked for. A page goes on where the one before ended, and never before `after`.
pub(super) fn page(
    after: Option<&str>,
    limit: Option<String>,
    next_token: Option<String>,
) -> Result<HistoryPage, Refusal> {
    let page = pages::read(LIST, limit, next_token)?;
    let number =
        |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let after = match after {
        None => 0,
        Some(text) => number(text)
            .ok_or_else(|| vec![Fault::new("/after", "must be the sequence of a message, a whole number")])?,
    };
    let went = match page.after {
        None => 0,
        Some(text) => number(&text).ok_or_else(|| {
            vec![Fault::new("/next_token", "must be the next_token of an answer of this list")]
        })?,
    };
    Ok(HistoryPage { after: after.max(went), limit: page.limit })
}

/// Reads it.
pub(super) async fn read(
    store: &Store,
    tenant: &TenantId,
    channel: &Channel,
    page: HistoryPage,
) -> Result<Reply, Refusal> {
    let most = (page.limit, PAGE_BYTES);
    let messages = store.channel_messages(tenant, channel, page.after, most, clock::now()).await?;
    let last = messages.last().map(|message| message.sequence);
    let next = last.filter(|last| *last < channel.last_sequence());
    let view = |message: &ChannelMessage| ChannelMessageView {
        message_id: message.id.clone(),
        sequence: message.sequence,
        subject: channel.name.clone(),
        channel_id: channel.id.clone(),
        from: message.from.clone(),
        payload: message.payload.clone(),
        timestamp: message.at,
    };
    Ok(Reply::ok(&ChannelMessageList {
        messages: messages.iter().map(|message| view(message)).collect(),
        next_token: next.map(|next| Cursor::encode(LIST, &next.to_string())),
    }))
}
