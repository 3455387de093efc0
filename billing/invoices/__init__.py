"""Invoices that stand: finalised with a number, voided and reissued, credited and paid."""
