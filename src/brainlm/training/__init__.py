"""Everything that trains: Lightning modules, the batches they see and how runs start, stop and go on."""
