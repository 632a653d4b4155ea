//! What may be subscribed to.

/// What a topic with wildcards has to be, if it is not: section 4.7 of MQTT.
pub fn filter_rule(topic: &str) -> Option<&'static str> {
    if topic.is_empty() {
        return Some("topics that are not empty, such as \"pump/#\"");
    }
    if topic.len() > BYTES_MAX {
        return Some("topics of at most 1000 bytes");
    }
    if topic.contains('\0') {
        return Some("topics without NUL characters");
    }
    let mut levels = topic.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Some("# only alone in the last level of a topic, as in \"pump/#\"");
        }
        if level.contains('+') && level != "+" {
            return Some("+ only alone in a level of a topic, as in \"pump/+/flow\"");
        }
    }
    None
}

const BYTES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone_in_their_levels() {
        for good in ["#", "+", "pump/#", "+/flow", "a/+/b/#", "/", "$share/g/x/#"] {
            assert_eq!(filter_rule(good), None, "{good}");
        }
        for bad in ["", "pump#", "a/#/b", "#/", "a+", "a/b+/c", "a\0"] {
            assert!(filter_rule(bad).is_some(), "{bad:?}");
        }
    }
}
