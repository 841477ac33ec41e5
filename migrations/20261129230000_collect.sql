-- A recommendation more: the samples cannot tell, and more of them are needed.
ALTER TYPE transfer_recommendation ADD VALUE 'collect';
