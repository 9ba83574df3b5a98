//! Added tokens: texts that are tokens wherever they occur.

/// Texts to look for, all at once.
#[derive(Default)]
pub(super) struct AddedTokens {
    /// In the order of texts.
    entries: Vec<(String, u32)>,
    /// Bytes that a text begins with.
    firsts: Vec<u8>,
}

impl AddedTokens {
    /// Look for these texts; none may be empty.
    pub(super) fn new(mut entries: Vec<(String, u32)>) -> Self {
        entries.sort_unstable();
        let mut firsts: Vec<u8> = entries.iter().map(|entry| entry.0.as_bytes()[0]).collect();
        firsts.dedup();
        Self { entries, firsts }
    }

    /// Return the text of a token.
    pub(super) fn text(&self, token: u32) -> Option<&str> {
        self.entries.iter().find(|entry| entry.1 == token).map(|entry| entry.0.as_str())
    }

    /// Return the token of a text.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let found = self.entries.binary_search_by(|entry| entry.0.as_str().cmp(text)).ok()?;
        Some(self.entries[found].1)
    }

    /// Cut a text into what lies between tokens, which may be empty, and the tokens.
    pub(super) fn split<'a>(&self, text: &'a str, mut found: impl FnMut(&'a str, Option<u32>)) {
        let (mut start, mut at) = (0, 0);
        while let Some(first) = text.as_bytes().get(at) {
            let hit = if self.firsts.contains(first) { self.longest(&text[at..]) } else { None };
            match hit {
                Some((length, token)) => {
                    found(&text[start..at], Some(token));
                    at += length;
                    start = at;
                }
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
        found(&text[start..], None);
    }

    /// Find the longest entry that a text begins with, by narrowing the entries byte by byte.
    fn longest(&self, text: &str) -> Option<(usize, u32)> {
        let (mut best, mut left) = (None, self.entries.as_slice());
        for (depth, &byte) in text.as_bytes().iter().enumerate() {
            let at = |entry: &(String, u32)| entry.0.as_bytes().get(depth).copied();
            let from = left.partition_point(|entry| at(entry) < Some(byte));
            let to = left.partition_point(|entry| at(entry) <= Some(byte));
            left = &left[from..to];
            let Some((shortest, token)) = left.first() else { break };
            if shortest.len() == depth + 1 {
                best = Some((shortest.len(), *token));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::AddedTokens;

    #[test]
    fn takes_the_leftmost_and_of_those_the_longest() {
        let entries = [("<a>", 1), ("<a>b", 2), ("b", 3), ("é", 4)];
        let added = AddedTokens::new(entries.map(|(text, token)| (text.into(), token)).to_vec());
        let mut found = Vec::new();
        added.split("x<a>bb<a><éy", |text, token| found.push((text, token)));
        let expected = [("x", Some(2)), ("", Some(3)), ("", Some(1)), ("<", Some(4)), ("y", None)];
        assert_eq!(found, expected);
        assert_eq!(added.text(2), Some("<a>b"));
    }
}
