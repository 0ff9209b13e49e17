//! How ids are kept in columns: as numbers in SQLite, as their 13 characters in MySQL.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlTypeInfo, MySqlValueRef};
use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, MySql, Sqlite, Type};

use crate::domain::id::{
    DeadLetterId, FileId, InstanceId, MessageId, OutboxId, SubmissionId, WebhookId,
};

macro_rules! id_column {
    ($($id:ident),+ $(,)?) => {$(
        impl Type<Sqlite> for $id {
            fn type_info() -> SqliteTypeInfo {
                <i64 as Type<Sqlite>>::type_info()
            }

            fn compatible(other: &SqliteTypeInfo) -> bool {
                <i64 as Type<Sqlite>>::compatible(other)
            }
        }

        impl<'row> Decode<'row, Sqlite> for $id {
            fn decode(value: SqliteValueRef<'row>) -> Result<Self, BoxDynError> {
                <i64 as Decode<Sqlite>>::decode(value).map(Self::from_column)
            }
        }

        impl Type<MySql> for $id {
            fn type_info() -> MySqlTypeInfo {
                <str as Type<MySql>>::type_info()
            }

            fn compatible(other: &MySqlTypeInfo) -> bool {
                <str as Type<MySql>>::compatible(other)
            }
        }

        impl<'row> Decode<'row, MySql> for $id {
            fn decode(value: MySqlValueRef<'row>) -> Result<Self, BoxDynError> {
                Ok(<&str as Decode<MySql>>::decode(value)?.parse()?)
            }
        }

        impl<'query> Encode<'query, MySql> for $id {
            fn encode_by_ref(&self, buffer: &mut Vec<u8>) -> Result<IsNull, BoxDynError> {
                <String as Encode<MySql>>::encode(self.to_string(), buffer)
            }
        }
    )+};
}

id_column!(
    DeadLetterId,
    FileId,
    InstanceId,
    MessageId,
    OutboxId,
    SubmissionId,
    WebhookId,
);
