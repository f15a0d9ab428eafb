//! `signalbox retention`.

use serde_json::Value;

use super::{Cli, heads, row};

#[test]
fn retention_is_shown_and_set() {
    let cli = Cli::start();
    let table = cli.ok("retention show");
    assert_eq!(heads(&table), ["WHAT IS OVER", "KEPT FOR", "SET BY"]);
    assert!(
        row(&table, "sessions").contains("30d")
            && row(&table, "sessions").trim_end().ends_with("configuration"),
        "{table}"
    );

    let set = cli.run("retention set --sessions 90d", &[]);
    assert!(set.code == Some(0) && set.stderr.contains("within a minute"), "{set:?}");
    assert!(
        row(&set.stdout, "sessions").contains("90d")
            && row(&set.stdout, "sessions").trim_end().ends_with("the tenant")
    );
    let set = cli.json("retention set --messages 12h");
    assert_eq!((&set["sessions"], &set["messages"]), (&"90d".into(), &"12h".into()), "the rest stays");
    let back = cli.json("retention set --sessions default");
    assert_eq!((&back["sessions"], &back["effective"]["sessions"]), (&Value::Null, &"30d".into()));
    assert_eq!(cli.json("retention show")["messages"], "12h");

    let (told, code) = cli.refused("retention set");
    assert!(code == 2 && told.contains("--sessions"), "{told}");
    let (told, code) = cli.refused("retention set --events long");
    assert!(code == 1 && told.contains("/events must be a duration"), "{told}");
}
