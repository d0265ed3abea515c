//! What a range must do, rule by rule, and whether the checks notice when it does not.

mod first;
