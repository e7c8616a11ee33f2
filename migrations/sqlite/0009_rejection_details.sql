-- What a guest gave with a rejection for programs.

-- NULL: it gave nothing, it was too large to be kept, or it was not kept yet then.
ALTER TABLE rejections ADD COLUMN details BLOB;
-- Media type of the details; NULL for JSON.
ALTER TABLE rejections ADD COLUMN details_type TEXT;
