//! Addresses inside the API: path segments and query values are percent-encoded bytes, because
//! paths of a tree need not be text.

/// Builds an address piece by piece.
#[derive(Debug, Clone)]
pub struct Address {
    text: String,
    has_query: bool,
}

impl Address {
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { text: format!("/api/v1{path}"), has_query: false }
    }

    #[must_use]
    pub fn segment(mut self, segment: &[u8]) -> Self {
        self.text.push('/');
        encode_into(&mut self.text, segment);
        self
    }

    #[must_use]
    pub fn query(mut self, name: &str, value: &[u8]) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self.text.push('=');
        encode_into(&mut self.text, value);
        self
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn encode_into(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(bytes)
}

/// The values of a query, in order.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pairs: Vec<(String, Vec<u8>)>,
}

impl Query {
    /// Understands what [`Address::query`] builds. `None` for anything malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((name.to_owned(), decode(value)?));
        }
        Some(Self { pairs })
    }

    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        let every: Vec<u8> = (0..=255).collect();
        let address = Address::new("/x").segment(b"a/b").query("p", &every).query("q", b"");
        let (path, query) = address.as_str().split_once('?').unwrap();
        assert_eq!(path, "/api/v1/x/a%2Fb");
        let query = Query::parse(query).unwrap();
        assert_eq!(query.bytes("p"), Some(every.as_slice()));
        assert_eq!(query.bytes("q"), Some(&b""[..]));
        assert!(query.bytes("r").is_none());
    }

    #[test]
    fn half_an_escape_is_refused() {
        assert!(Query::parse("p=%4").is_none() && Query::parse("p=%zz").is_none());
    }
}
