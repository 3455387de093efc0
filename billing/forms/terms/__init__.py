"""The terms of a bill as a form: fields for what most contracts agree, rows for further terms and price models, JSON for the rest."""
