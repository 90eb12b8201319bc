//! Tests of the merge of walk and basis.
