//! The bits of a register as a type of their own, so that a bit of one register cannot be written to another (D-11, D-175).

/// What the types that `bits!` makes have in common. A whole number becomes bits, or bits a number, only by name.
pub(crate) trait Bits: Sized + Copy {
    /// The register's whole value.
    fn number(self) -> u32;
    /// Bits of a number: a field among them, or what stands in a test.
    fn from_number(number: u32) -> Self;

    /// None of them.
    fn none() -> Self {
        Self::from_number(0)
    }

    /// Whether any of `bits` is set.
    fn has(self, bits: Self) -> bool {
        self.number() & bits.number() != 0
    }
}

/// A register that holds a number.
impl Bits for u32 {
    fn number(self) -> u32 {
        self
    }
    fn from_number(number: u32) -> Self {
        number
    }
}

/// Makes a type for each register: its named bits, and `|`, `&` and `!` between bits of the same register.
macro_rules! bits {
    ($($(#[$about:meta])* $visibility:vis struct $name:ident { $($(#[$meaning:meta])* $bit:ident = $value:expr,)* })*) => {$(
        $(#[$about])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, zerocopy::FromBytes, zerocopy::Immutable, zerocopy::IntoBytes,
        )]
        #[repr(transparent)]
        $visibility struct $name(u32);

        impl $name {
            $($(#[$meaning])* $visibility const $bit: Self = Self($value);)*
        }

        impl $crate::bits::Bits for $name {
            fn number(self) -> u32 {
                self.0
            }
            fn from_number(number: u32) -> Self {
                Self(number)
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl core::ops::BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl core::ops::Not for $name {
            type Output = Self;
            fn not(self) -> Self {
                Self(!self.0)
            }
        }
    )*};
}

pub(crate) use bits;

#[cfg(test)]
mod tests {
    use super::*;

    bits! {
        /// A register.
        struct Switches {
            ON = 1 << 0,
            LOUD = 1 << 4,
            BOTH = 1 << 0 | 1 << 4,
        }
    }

    #[test]
    fn bits_are_the_register_s_own_word() {
        assert_eq!((Switches::ON | Switches::LOUD).number(), 0x11);
        assert_eq!(Switches::ON | Switches::LOUD, Switches::BOTH);
        let found = Switches::from_number(0xf1);
        assert_eq!((found & !Switches::BOTH).number(), 0xe0);
        assert!(found.has(Switches::ON) && found.has(Switches::BOTH));
        assert!(!Switches::none().has(Switches::BOTH));
        assert_eq!(size_of::<Switches>(), size_of::<u32>());
    }
}
