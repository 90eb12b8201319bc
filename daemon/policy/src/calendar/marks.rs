//! Which values of one field of a calendar event are meant: a set of small numbers.

/// A field of a date or of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    Year,
    Month,
    /// Counted from the first of the month.
    Day,
    /// Counted from the end of the month: 1 is its last day.
    DayFromEnd,
    Hour,
    Minute,
    Second,
}

impl Field {
    #[must_use]
    pub const fn low(self) -> u16 {
        match self {
            Self::Year => 1970,
            Self::Month | Self::Day | Self::DayFromEnd => 1,
            Self::Hour | Self::Minute | Self::Second => 0,
        }
    }

    #[must_use]
    pub const fn high(self) -> u16 {
        match self {
            Self::Year => 2199,
            Self::Month => 12,
            Self::Day | Self::DayFromEnd => 31,
            Self::Hour => 23,
            Self::Minute | Self::Second => 59,
        }
    }

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::DayFromEnd => "day from the end of the month",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }
}

const WORDS: usize = 4;

/// A set of values of one field. Years need 230 bits; the others are small beside that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Marks {
    field: Field,
    bits: [u64; WORDS],
}

impl Marks {
    pub(crate) const fn none(field: Field) -> Self {
        Self { field, bits: [0; WORDS] }
    }

    pub(crate) fn all(field: Field) -> Self {
        let mut marks = Self::none(field);
        (field.low()..=field.high()).for_each(|value| marks.insert(value));
        marks
    }

    pub(crate) fn one(field: Field, value: u16) -> Self {
        let mut marks = Self::none(field);
        marks.insert(value);
        marks
    }

    pub(crate) const fn field(&self) -> Field {
        self.field
    }

    /// Values outside of the field are nobody's: the parser refused them.
    pub(crate) fn insert(&mut self, value: u16) {
        if (self.field.low()..=self.field.high()).contains(&value) {
            let bit = usize::from(value - self.field.low());
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
    }

    pub(crate) fn contains(&self, value: u16) -> bool {
        let Some(bit) = value.checked_sub(self.field.low()).map(usize::from) else { return false };
        bit < WORDS * 64 && self.bits[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// The least that is not below `value`.
    pub(crate) fn at_or_above(&self, value: u16) -> Option<u16> {
        let bit = usize::from(value.saturating_sub(self.field.low()));
        for word in bit / 64..WORDS {
            let from = if word == bit / 64 { bit % 64 } else { 0 };
            let rest = self.bits[word] & (u64::MAX << from);
            if rest != 0 {
                return Some(self.value(word * 64 + rest.trailing_zeros() as usize));
            }
        }
        None
    }

    /// The greatest that is not above `value`.
    pub(crate) fn at_or_below(&self, value: u16) -> Option<u16> {
        let bit = usize::from(value.min(self.field.high()).checked_sub(self.field.low())?);
        for word in (0..=bit / 64).rev() {
            let to = if word == bit / 64 { bit % 64 } else { 63 };
            let rest = self.bits[word] & (u64::MAX >> (63 - to));
            if rest != 0 {
                return Some(self.value(word * 64 + 63 - rest.leading_zeros() as usize));
            }
        }
        None
    }

    fn value(&self, bit: usize) -> u16 {
        self.field.low() + u16::try_from(bit).unwrap_or(0)
    }

    pub(crate) fn first(&self) -> Option<u16> {
        self.at_or_above(self.field.low())
    }

    pub(crate) fn last(&self) -> Option<u16> {
        self.at_or_below(self.field.high())
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u16> {
        (self.field.low()..=self.field.high()).filter(move |value| self.contains(*value))
    }

    pub(crate) fn count(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn is_all(&self) -> bool {
        *self == Self::all(self.field)
    }
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
