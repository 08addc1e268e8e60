"""What the Sources tell of a record, as metadata of an InvenioRDM record, with a report of what found no place."""
