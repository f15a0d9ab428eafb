-- Nobody looks for an agent under its own name: whoever names it knows it.
DELETE FROM available WHERE route LIKE 'agent:%';
