//! What all pages share: head, navigation, states, pagination.

use common::ids::DeviceId;
use maud::{DOCTYPE, Markup, Render, html};

use super::view::View;
use super::words;
use crate::status::{Fault, Status, TaskStatus};

/// The pages, in the order of their navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Fleet,
    Rounds,
    Students,
    History,
    Rollouts,
    Distilled,
    Certificates,
    Audit,
    Health,
}

impl Room {
    const ALL: [Self; 9] = [
        Self::Fleet,
        Self::Rounds,
        Self::Students,
        Self::History,
        Self::Rollouts,
        Self::Distilled,
        Self::Certificates,
        Self::Audit,
        Self::Health,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::Rounds => "Rounds",
            Self::Students => "Students",
            Self::History => "History",
            Self::Rollouts => "Rollouts",
            Self::Distilled => "Distilled data",
            Self::Certificates => "Certificates",
            Self::Audit => "Audit",
            Self::Health => "Health",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Fleet => "/",
            Self::Rounds => "/rounds",
            Self::Students => "/students",
            Self::History => "/history",
            Self::Rollouts => "/rollouts",
            Self::Distilled => "/distilled",
            Self::Certificates => "/certificates",
            Self::Audit => "/audit",
            Self::Health => "/health",
        }
    }
}

/// How something is, told by shape and word as well as by colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    Good,
    Quiet,
    Warn,
    Bad,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Quiet => "quiet",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Good => "●",
            Self::Quiet => "○",
            Self::Warn => "▲",
            Self::Bad => "■",
        }
    }
}

/// A state in one word.
pub(super) fn pill(tone: Tone, text: &str) -> Markup {
    html! {
        span class={ "pill " (tone.class()) } { span aria-hidden="true" { (tone.mark()) } " " (text) }
    }
}

/// One figure and what it is.
pub(super) fn tile(label: &str, figure: &str, detail: impl Render, tone: Tone) -> Markup {
    let detail = detail.render();
    html! {
        div class={ "tile " (tone.class()) } {
            dt { (label) }
            dd { strong { (figure) } @if !detail.0.is_empty() { small { (detail) } } }
        }
    }
}

/// A command to type, or a name in a file. Lines break between its words and
/// nowhere else: half a flag would be misread.
pub(super) fn command(text: &str) -> Markup {
    html! {
        code {
            @for (at, word) in text.split(' ').enumerate() {
                @if at > 0 { " " }
                span class="word" { (word) }
            }
        }
    }
}

/// ` --task NAME` for a command, where it has to say which.
pub(super) fn of_task(task: &TaskStatus, status: &Status) -> String {
    match status.tasks.len() {
        0 | 1 => String::new(),
        _ => format!(" --task {}", task.name),
    }
}

/// The head of what is told of one task.
pub(super) fn task(task: &TaskStatus) -> Markup {
    html! {
        h2 {
            (task.name) @if task.archived.is_some() { " (archived)" }
            " " small class="quiet" {
                "task " code { (task.task.short()) }
                @if !task.groups.is_empty() { ", for " (task.groups.join(", ")) }
            }
        }
    }
}

/// A device as lists name it, which leads to its page: what people call it,
/// if they call it anything, and the beginning of its id.
pub(super) fn device(id: DeviceId, label: &str) -> Markup {
    html! {
        a class="plain" href={ "/device?id=" (id) } {
            @if label.is_empty() { code { (id.short()) } } @else { (label) }
        }
        @if !label.is_empty() { " " code class="quiet" { (id.short()) } }
    }
}

/// A whole page.
pub(super) fn page(room: Room, view: &View, content: Markup) -> Markup {
    let status = &view.status;
    frame(
        room.name(),
        Some(room),
        html! {
            @if !status.storage_ok {
                p class="alarm" role="alert" {
                    (pill(Tone::Bad, "Storage fails"))
                    " Nothing is taken from devices until it is mended; the coordinator's log says why."
                }
            }
            (content)
        },
        html! {
            "Coordinator " (status.program) " at " (status.address) ", up "
            (words::span(status.now.since_ms(status.started))) ". As of "
            time { (words::instant(status.now)) } " UTC."
            @if !view.health.state_option.is_empty() {
                " Commands for it end with " (command(view.health.state_option.trim_start())) "."
            }
        },
    )
}

/// The page for a path that is not valid.
pub(super) fn missing() -> Markup {
    frame(
        "Not found",
        None,
        html! {
            h1 { "There is no such page" }
            p { "The " a href="/" { "fleet" } " is a good place to start." }
        },
        html! {},
    )
}

/// The page for a moment when nothing can be shown.
pub(super) fn broken(fault: &Fault) -> Markup {
    frame(
        "Not now",
        None,
        html! { h1 { "This cannot be shown now" } p { (fault.message) } },
        html! {},
    )
}

fn frame(title: &str, room: Option<Room>, content: Markup, foot: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Alambic" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
                noscript { meta http-equiv="refresh" content="15"; }
            }
            body {
                a class="skip" href="#content" { "Skip to content" }
                header {
                    a class="brand" href="/" { img src="/icon.svg" alt="" width="26" height="26"; "Alambic" }
                    nav aria-label="Pages" {
                        @for one in Room::ALL {
                            a href=(one.path()) aria-current=[(Some(one) == room).then_some("page")] { (one.name()) }
                        }
                    }
                    span id="live" role="status" {}
                }
                main id="content" tabindex="-1" { (content) }
                footer id="foot" { (foot) }
            }
        }
    }
}

/// Links to the pages of a long list. `link` makes the address of a page,
/// counted from 1.
pub(super) fn pages(page: usize, pages: usize, link: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav class="pages" aria-label="Pages of this list" {
                @if page > 1 {
                    a href=(link(1)) rel="first" { "« First" }
                    a href=(link(page - 1)) rel="prev" { "‹ Previous" }
                }
                span { "Page " (page) " of " (pages) }
                @if page < pages {
                    a href=(link(page + 1)) rel="next" { "Next ›" }
                    a href=(link(pages)) rel="last" { "Last »" }
                }
            }
        }
    }
}

/// The part of a list that a page shows: its number, all pages, and the range.
pub(super) fn slice(
    asked: Option<&String>,
    items: usize,
    each: usize,
) -> (usize, usize, std::ops::Range<usize>) {
    let pages = items.div_ceil(each).max(1);
    let page = asked.and_then(|page| page.parse().ok()).unwrap_or(1);
    let page = usize::clamp(page, 1, pages);
    let from = (page - 1) * each;
    (page, pages, from..items.min(from + each))
}

/// What to do before there is anything to see.
pub(super) fn no_task(status: &Status) -> Markup {
    html! {
        p class="hint" {
            @if status.state_known {
                "There is no task yet. Create one with "
                (command("alambic-coordinator task create FILE")) "."
            } @else {
                (UNKNOWN)
            }
        }
    }
}

/// In place of devices and tasks, while storage fails.
pub(super) const UNKNOWN: &str =
    "Devices and tasks cannot be shown until storage works again; nothing is lost. ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_breaks_between_words() {
        let shown = command("key offline --out <FILE>").into_string();
        assert!(shown.contains("<span class=\"word\">--out</span> <span"));
        let mut text = String::new();
        for part in shown.split('<').filter_map(|part| part.split_once('>')) {
            text.push_str(part.1);
        }
        assert_eq!(text, "key offline --out &lt;FILE&gt;");
    }

    #[test]
    fn a_device_without_a_name_is_named_by_its_id_once() {
        let id = DeviceId([7; 16]);
        let short = format!(">{}<", id.short());
        assert_eq!(device(id, "").into_string().matches(&short).count(), 1);
        let named = device(id, "<pump>").into_string();
        assert!(named.contains(">&lt;pump&gt;</a>") && named.contains(&short));
    }

    #[test]
    fn a_page_number_is_kept_within_the_list() {
        let ask = |page: &str| slice(Some(&page.to_owned()), 250, 100);
        assert_eq!(ask("9"), (3, 3, 200..250));
        assert_eq!(ask("x"), (1, 3, 0..100));
        assert_eq!(ask("0"), (1, 3, 0..100));
        assert_eq!(slice(None, 0, 100), (1, 1, 0..0));
    }
}
