"""Reading and writing media: the only room that imports PyAV."""
