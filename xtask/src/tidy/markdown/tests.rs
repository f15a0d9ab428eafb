//! Slugs as GitHub makes them, links as it follows them.

use super::*;

fn targets(text: &str) -> Vec<String> {
    Document::parse(text).links.into_iter().map(|link| link.target).collect()
}

fn anchors(text: &str) -> Vec<String> {
    Document::parse(text).anchors.into_iter().collect()
}

#[test]
fn slugs_keep_words_and_hyphens() {
    for (title, expected) in [
        ("Getting started", "getting-started"),
        ("Who may call?", "who-may-call"),
        ("Ops-Core (`/v1/opscore`)", "ops-core-v1opscore"),
        ("Storage & bus", "storage--bus"),
        ("A — B", "a--b"),
        ("Übergröße 2.0", "übergröße-20"),
        ("`max_body_bytes`", "max_body_bytes"),
        ("max_body and _this_", "max_body-and-this"),
        ("**Bold** *word*", "bold-word"),
        ("See [the docs](docs/a.md)", "see-the-docs"),
        ("<a id=\"x\"></a>Named", "named"),
        ("`__init__.py`", "__init__py"),
        ("`a < b > c`", "a--b--c"),
    ] {
        assert_eq!(slug(title), expected, "{title}");
    }
}

#[test]
fn headings_of_both_kinds_are_anchors() {
    assert_eq!(anchors("# One\ntext\n\n## Two ##\n"), ["one", "two"]);
    assert_eq!(anchors("One\n===\n\nTwo\n---\n\n---\n"), ["one", "two"]);
    assert_eq!(anchors("#hashtag\n####### seven\n"), Vec::<String>::new());
}

#[test]
fn repeated_headings_are_numbered() {
    assert_eq!(anchors("# A\n# A\n# A\n"), ["a", "a-1", "a-2"]);
}

#[test]
fn html_anchors_count() {
    assert_eq!(anchors("<a id=\"top\"></a>\n<a name=\"end\"></a>\n"), ["end", "top"]);
}

#[test]
fn links_images_and_definitions_are_found() {
    assert_eq!(targets("[a](b.md) and ![c](d.png \"title\")"), ["b.md", "d.png"]);
    assert_eq!(targets("[![badge](e.svg)](f.md#g)"), ["e.svg", "f.md#g"]);
    assert_eq!(targets("[a](<with space.md>) [b](c_(d).md)"), ["with space.md", "c_(d).md"]);
    assert_eq!(targets("[a][b]\n\n[b]: c.md \"title\"\n[^1]: d.md\n"), ["c.md"]);
    assert_eq!(targets("<a href=\"a.md\"><img src=\"b.png\"></a>"), ["a.md", "b.png"]);
}

#[test]
fn a_link_may_begin_on_the_line_before() {
    let links = Document::parse("see [the long\ntext](a.md)\n").links;
    assert_eq!(links, [Link { line: 2, target: "a.md".to_owned() }]);
}

#[test]
fn code_and_comments_hold_no_links() {
    assert_eq!(targets("```\n[a](b)\n```\n[c](d)\n"), ["d"]);
    assert_eq!(targets("~~~md\n```\n[a](b)\n~~~\n[c](d)\n"), ["d"]);
    assert_eq!(targets("````\n```\n[a](b)\n```\n````\n[c](d)\n"), ["d"]);
    assert_eq!(targets("- item\n\n  ```sh\n  [a](b)\n  ```\n\n  [c](d)\n"), ["d"]);
    assert_eq!(targets("`[a](b)` and ``[`c`](d)`` and [`e`](f)"), ["f"]);
    assert_eq!(targets("<!-- [a](b)\n[c](d) -->\n[e](f)\n"), ["f"]);
    assert_eq!(anchors("```sh\n# not a heading\n```\n"), Vec::<String>::new());
}

#[test]
fn a_lone_backtick_hides_nothing() {
    assert_eq!(targets("a ` b [c](d)"), ["d"]);
}
