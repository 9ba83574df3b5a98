//! What the canister shows of itself to everybody, as a page without scripts.
//!
//! Of a model that not everybody may read it shows nothing: the page is that of a canister that runs
//! none.

use std::fmt::Write;

use crate::api::{Configuration, Mode, ModelStatus, Part};
use crate::reader::INTERFACE_VERSION;

/// The page's only style; `website::POLICY` names its digest.
pub const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;\
    padding:0 1rem}th{text-align:left;vertical-align:top;padding-right:1.5rem}\
    td,code{overflow-wrap:anywhere}";

/// The public model that the canister runs, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    configuration: Configuration,
    loaded: bool,
    chunks: u32,
    of: u32,
    max_positions: u32,
}

impl Shown {
    /// Choose what everybody may see of a status.
    pub fn of(status: ModelStatus, is_public: impl FnOnce(&str) -> bool) -> Option<Self> {
        let ModelStatus { configuration, loaded, chunks, of, max_positions, .. } = status;
        let configuration = configuration.filter(|chosen| is_public(&chosen.model))?;
        Some(Self { configuration, loaded, chunks, of, max_positions })
    }
}

/// Return the page of a canister that runs a public model, or none.
pub fn status(shown: Option<&Shown>) -> String {
    let body = match shown {
        None => "<p>It runs no public model.</p>".into(),
        Some(shown) => model(shown),
    };
    let text = format!(
        "<p>This canister stores the weights of language models, and can run one of them.</p>{body}\
         <p>Interface: models {INTERFACE_VERSION}, storage {}.</p>",
        datanode_store::INTERFACE_VERSION,
    );
    html("Inference canister", &text)
}

/// Return the page for an address at which there is nothing.
pub fn not_found() -> String {
    html("Nothing here", "<p>The status of this canister is at <a href=\"/\">its root</a>.</p>")
}

fn html(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )
}

fn model(shown: &Shown) -> String {
    let chosen = &shown.configuration;
    let mut table = String::from("<table><caption>Model</caption>");
    let mut row = |name: &str, value: &str| {
        let _ = write!(table, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
    };
    let name = escaped(&chosen.model);
    row("Name", &name);
    row("Version", &chosen.version.map_or_else(String::new, |version| version.to_string()));
    let mode = match chosen.mode {
        Mode::Fast => "fast",
        Mode::Exact => "exact",
    };
    row("Mode", mode);
    row("Part", &chosen.part.map_or_else(|| "the whole model".into(), |part| described(&part)));
    row("State", &state(shown));
    if shown.loaded {
        row("Longest conversation", &format!("{} tokens", shown.max_positions));
    }
    let fleet = chosen.fleet.iter();
    for (title, members) in
        fleet.flat_map(|fleet| [("Driven by", &fleet.drivers), ("Calls", &fleet.blocks)])
    {
        let members: Vec<String> = members.iter().map(ToString::to_string).collect();
        if !members.is_empty() {
            row(title, &members.join(", "));
        }
    }
    table.push_str("</table>");
    if shown.loaded && chosen.part.is_none() {
        let _ = write!(
            table,
            "<p>Ask it without a fee: <code>datanode generate {name} \"...\" --query</code></p>"
        );
    }
    table
}

fn state(shown: &Shown) -> String {
    match (shown.loaded, shown.of) {
        (true, _) => "loaded".into(),
        (false, 0) => "not loaded".into(),
        (false, of) => format!("loading: {} of {of} chunks", shown.chunks),
    }
}

fn described(part: &Part) -> String {
    let mut text = format!("blocks {} to {}", part.first_block, part.end_block.saturating_sub(1));
    if part.embed {
        text.push_str(", embedding");
    }
    if part.head {
        text.push_str(", head");
    }
    text
}

/// Names of models hold none of these characters; the page does not rely on it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(model: &str) -> ModelStatus {
        let configuration = Configuration {
            model: model.into(),
            version: Some(3),
            mode: Mode::Fast,
            part: Some(Part { first_block: 0, end_block: 15, embed: true, head: false }),
            fleet: None,
        };
        ModelStatus {
            interface_version: INTERFACE_VERSION,
            configuration: Some(configuration),
            loaded: false,
            chunks: 4,
            of: 9,
            max_positions: 0,
            conversations: 5,
            cache_bytes: 1,
            heap_bytes: 2,
        }
    }

    #[test]
    fn a_private_model_leaves_the_page_of_a_canister_without_one() {
        assert_eq!(Shown::of(running("secret"), |name| name != "secret"), None);
        assert!(status(None).contains("no public model"));
    }

    #[test]
    fn the_page_tells_what_runs_and_how_far_it_is() {
        let shown = Shown::of(running("a/b"), |name| name == "a/b").unwrap();
        let page = status(Some(&shown));
        for text in ["a/b", "fast", "blocks 0 to 14, embedding<", "loading: 4 of 9 chunks"] {
            assert!(page.contains(text), "{text}");
        }
    }

    #[test]
    fn conversations_do_not_change_the_page() {
        let later = ModelStatus { conversations: 9, cache_bytes: 7, heap_bytes: 8, ..running("m") };
        assert_eq!(Shown::of(later, |_| true), Shown::of(running("m"), |_| true));
    }

    #[test]
    fn a_name_is_text() {
        let shown = Shown::of(running("<script>&\""), |_| true).unwrap();
        assert!(status(Some(&shown)).contains("&lt;script>&amp;&quot;"));
    }
}
