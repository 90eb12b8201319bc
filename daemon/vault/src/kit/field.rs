//! Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1, without tables and branches that
//! depend on a secret: a table would tell by its cache lines what was looked up.

/// The product of two elements.
#[must_use]
pub(super) fn multiply(left: u8, right: u8) -> u8 {
    let (mut product, mut left) = (0, left);
    for bit in 0..8 {
        // All ones where the bit is set, else zero.
        product ^= left & ((right >> bit) & 1).wrapping_neg();
        let carry = (left >> 7).wrapping_neg();
        left = (left << 1) ^ (0x1b & carry);
    }
    product
}

/// The inverse, as the 254th power; of zero, zero.
#[must_use]
pub(super) fn invert(element: u8) -> u8 {
    // 254 is seven ones and a zero: the powers 2, 4, … 128, multiplied.
    let (mut square, mut inverse) = (element, 1);
    for _ in 0..7 {
        square = multiply(square, square);
        inverse = multiply(inverse, square);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_field() {
        // FIPS 197, section 4.2 and 4.2.1.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        for left in 0..=255 {
            assert_eq!(multiply(left, 0), 0);
            assert_eq!(multiply(left, 1), left);
            for right in 0..=255 {
                assert_eq!(multiply(left, right), multiply(right, left));
                let third = 0x35;
                let sum = multiply(left, right ^ third);
                assert_eq!(sum, multiply(left, right) ^ multiply(left, third));
            }
        }
    }

    #[test]
    fn everything_but_zero_has_an_inverse() {
        assert_eq!(invert(0), 0);
        for element in 1..=255 {
            assert_eq!(multiply(element, invert(element)), 1, "{element}");
        }
    }
}
