//! What is not there is never shown as empty: it is told, with what to do.

use serde_json::json;

use super::Cli;
use crate::support::eventually;

#[test]
fn what_is_not_there_is_told_with_a_cure() {
    let cli = Cli::start();
    cli.api().register_at("reader", "http://127.0.0.1:9/run", &[]);
    let agents = "there is no agent 'nope'; 'signalbox agents list' shows what there is";
    let session = "there is no session 'ses_nope'; 'signalbox sessions list' shows what there is";
    let made = "'signalbox channels create nope' makes it";
    for (line, cure) in [
        ("channels history nope", made),
        ("channels publish nope 1", made),
        (
            "channels presence nope",
            "there is no channel 'nope'; 'signalbox channels list' shows what there is",
        ),
        ("channels subscribe nope --after 0", "of which no channel keeps a history"),
        ("channels show nope", "there is no channel 'nope'"),
        ("channels delete nope", "there is no channel 'nope'"),
        ("agents logs nope", agents),
        ("agents logs nope --follow", agents),
        ("agents state nope", agents),
        ("agents history nope", agents),
        ("agents message nope", agents),
        ("agents undrain nope", agents),
        ("agents remove nope", agents),
        ("logs --agent nope", agents),
        ("logs --session ses_nope", session),
        ("logs --session ses_nope --follow", session),
        ("commands list nope", agents),
        ("commands show nope cmd_1", "agent 'nope' has no command 'cmd_1'"),
        ("commands show reader cmd_1", "'signalbox commands list reader' shows those that there are"),
        ("commands cancel reader cmd_1", "agent 'reader' has no command 'cmd_1'"),
        ("commands send nope go", agents),
        (
            "tools call nope {} --agent reader",
            "there is no tool 'nope'; 'signalbox tools list' shows what there is",
        ),
        ("tools call echo {} --agent nope", agents),
        ("tools delete nope", "there is no tool 'nope'"),
        ("webhooks show nope", "there is no webhook 'nope'; 'signalbox webhooks list' shows what there is"),
        ("webhooks rotate nope", "there is no webhook 'nope'"),
        ("webhooks delete nope", "there is no webhook 'nope'"),
        ("ssh-keys show key_nope", "there is no SSH key 'key_nope'; 'signalbox ssh-keys list'"),
        ("ssh-keys revoke key_nope", "there is no SSH key 'key_nope'"),
        ("keys rotate key_nope", "there is no key 'key_nope'; 'signalbox keys list'"),
        ("agents message-status msg_nope", "there is no message 'msg_nope'"),
    ] {
        let (told, code) = cli.refused(line);
        assert!(code == 1 && told.contains(cure), "{line}: {told}");
        let lines = told.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(lines, 1, "{line}: {told}");
    }
}

#[test]
fn an_empty_log_is_not_that_of_something_missing() {
    let cli = Cli::start();
    let id = cli.api().register_at("reader", "http://127.0.0.1:9/run", &[]);
    let quiet = cli.said("agents logs reader --text nobody-wrote-this");
    assert_eq!(quiet, "there is no entry in the log that matches\n");
    assert_eq!(cli.json("agents logs reader --text nobody-wrote-this"), json!([]));
    // Whoever is gone has left its entries.
    cli.ok("agents remove reader");
    eventually("the entry", || {
        let printed = cli.ok(&format!("agents logs {id}"));
        if printed.contains("deregistered") { Ok(()) } else { Err(printed) }
    });
}
