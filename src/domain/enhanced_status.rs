//! Enhanced status codes of mail servers (RFC 3463), and those that concern a mailbox (rule 32).

use std::fmt;

/// A code such as `5.1.1`: class, subject and detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnhancedStatus {
    /// 2 for success, 4 for a temporary failure, 5 for a permanent one.
    pub class: u16,
    /// The subject of the code, such as 1 for addresses and 7 for policies.
    pub subject: u16,
    /// The condition within the subject.
    pub detail: u16,
}

impl EnhancedStatus {
    /// Parses three numbers of at most three digits, joined by dots. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|digits| {
            let is_number =
                (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse().ok()).flatten()
        });
        let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
        (numbers.next().is_none() && matches!(class, 2 | 4 | 5)).then_some(Self {
            class,
            subject,
            detail,
        })
    }

    /// Returns true for `5.0.0` and the like: a permanent failure of unknown cause.
    pub const fn is_unspecific_failure(self) -> bool {
        matches!((self.class, self.subject), (5, 0))
    }

    /// Returns true if the mailbox does not exist or accepts no mail (rule 32).
    pub const fn is_about_mailbox(self) -> bool {
        matches!(
            (self.class, self.subject, self.detail),
            (5, 1, 1 | 2 | 3 | 6 | 10) | (5, 2, 1)
        )
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_32_lists_the_codes_about_the_mailbox() {
        let about_mailbox = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"];
        for code in about_mailbox {
            assert!(EnhancedStatus::parse(code).unwrap().is_about_mailbox());
        }
        for code in [
            "4.1.1", "2.1.1", "5.0.0", "5.1.0", "5.1.4", "5.1.5", "5.1.7", "5.1.8", "5.1.9",
            "5.1.11", "5.1.100", "5.2.0", "5.2.2", "5.2.3", "5.2.4", "5.2.10", "5.3.0", "5.3.4",
            "5.4.1", "5.4.4", "5.4.6", "5.5.0", "5.5.1", "5.6.0", "5.7.0", "5.7.1", "5.7.23",
            "5.7.606",
        ] {
            assert!(
                !EnhancedStatus::parse(code).unwrap().is_about_mailbox(),
                "{code}"
            );
        }
    }

    #[test]
    fn code_consists_of_three_numbers() {
        for code in ["5.1.1", "4.7.1", "2.0.0", "5.7.606"] {
            assert_eq!(EnhancedStatus::parse(code).unwrap().to_string(), code);
        }
        for text in [
            "", "5", "5.1", "5.1.", ".1.1", "5.1.1.1", "5.1.1111", "3.1.1", "6.1.1", "a.b.c",
            "5.1.x", "5,1,1", "+5.1.1", "5.1.1 ", "5.1.١",
        ] {
            assert_eq!(EnhancedStatus::parse(text), None, "{text:?}");
        }
    }
}
